// To be preloaded: an Open MPI that says to be of version 5.
int MPI_Get_library_version(char* version, int* length);

int MPI_Get_library_version(char* version, int* length) {
  static const char kText[] = "Open MPI v5.0.11, package: Open MPI test";
  for (*length = 0; kText[*length] != 0; ++*length) version[*length] = kText[*length];
  version[*length] = 0;
  return 0;  // MPI_SUCCESS
}
