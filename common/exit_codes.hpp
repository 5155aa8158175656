// What the program's exit codes mean, to people, to schedulers and to `eggroll supervise`.
#pragma once

namespace eggroll {

inline constexpr int kBroke = 1;    // the run broke
inline constexpr int kMisused = 2;  // options, files or data do not fit
// sysexits' EX_TEMPFAIL: stopped before its end by a signal or max-seconds, with a checkpoint; the same
// run can go on.
inline constexpr int kStoppedBeforeEnd = 75;

}  // namespace eggroll
