// The commands beside training, and the checkpoint as other tools see it.
#include <H5public.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "common/noise.hpp"
#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

constexpr size_t kParameters = 513 * 64 + 4 * 64 + 12 * 64 * 64;  // one layer of width 64

class Commands : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new ScratchFolder;
    const std::string data = folder->write("text", generated_text(40000)).string();
    training_output =
        expect_success(eggroll("train --data " + data + " --run " + (*folder / "run").string() +
                               " --layers 1 --width 64 --population 256 --tokens-per-update 16"
                               " --generations 250 --seed 5 --carry own"));
  }
  static void TearDownTestSuite() { delete folder; }

  static std::string path(const std::string& name) { return (*folder / name).string(); }
  static nlohmann::json json_of(const std::string& arguments) {
    const std::string output = expect_success(eggroll(arguments));
    nlohmann::json json = nlohmann::json::parse(output, nullptr, false);
    EXPECT_TRUE(json.is_object()) << output;
    return json.is_object() ? json : nlohmann::json::object();
  }
  static nlohmann::json evaluated(const std::string& checkpoint, const std::string& more = "") {
    return json_of("evaluate --json --checkpoint " + checkpoint + " --data " + path("text") + " " +
                   more);
  }
  static std::string sample(const std::string& more) {
    return expect_success(eggroll("sample --checkpoint " + path("run") + " " + more));
  }

  // Debian's own Python has h5py; the first in PATH may be another.
  static bool run_python(const std::string& program) {
    const std::string file = folder->write("program.py", program).string();
    if (run_command("/usr/bin/python3 -c 'import h5py'").exit_code != 0) {
      std::cout << "not tested, /usr/bin/python3 lacks h5py" << std::endl;
      return false;
    }
    expect_success("/usr/bin/python3 " + file);
    return true;
  }

  static inline ScratchFolder* folder = nullptr;
  static inline std::string training_output;
};

TEST_F(Commands, HelpListsTheOptionsOfEachAndEndsWell) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> helps = {
      {"--help", {"train", "evaluate", "sample", "inspect", "--version"}},
      {"train --help", {"--data", "--population", "--resume", "--dry-run", "--config", "=1024"}},
      {"train --population 3 --help", {"--population"}},
      {"evaluate --help", {"--checkpoint", "--data", "--streams", "--held-out", "--json"}},
      {"sample --help", {"--prompt", "--temperature", "--top-p", "--seed", "--length"}},
      {"inspect --help", {"--checkpoint", "--json"}},
      {"bench --help", {"control", "update", "--env", "CartPole-v1,", "--repetitions"}}};
  for (const auto& [arguments, words] : helps) {
    const std::string output = expect_success(eggroll(arguments));
    for (const std::string& word : words)
      EXPECT_NE(output.find(word), std::string::npos) << arguments << ": " << word;
  }
}

// EGGROLL_VERSION: as CMake has it; the libraries are asked in other ways than the program does.
TEST_F(Commands, EverythingSaysWhichVersionItIsOf) {
  const std::string version = EGGROLL_VERSION;
  EXPECT_TRUE(version == EGGROLL_RELEASE || version.starts_with(EGGROLL_RELEASE "+")) << version;
  const std::string launcher =
      expect_success(EGGROLL_LAUNCHER " --version");  // "mpiexec (OpenRTE) 4.1.4"
  const size_t number = launcher.find(") ") + 2;
  const std::string mpi = launcher.substr(number, launcher.find('\n') - number);
  const std::string line = expect_success(eggroll("--version"));
  const std::string expected = "eggroll " + version + ": Open MPI v" + mpi + ", HDF5 " +
                               std::to_string(H5_VERS_MAJOR) + "." + std::to_string(H5_VERS_MINOR) +
                               "." + std::to_string(H5_VERS_RELEASE);
  EXPECT_TRUE(line.starts_with(expected)) << line << expected;
  EXPECT_EQ(line.find("Box2D 2.") != std::string::npos, EGGROLL_HAS_BOX2D) << line;
  EXPECT_EQ(line.find("MuJoCo ") != std::string::npos, EGGROLL_HAS_MUJOCO) << line;
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_EQ(expect_success(mpirun(2, "--version")), line) << "said once";

  EXPECT_EQ(inspect(path("run")).value("version", ""), version);
  const std::string text = expect_success(eggroll("inspect --checkpoint " + path("run")));
  EXPECT_EQ(lines_with(text, "version            " + version).size(), 1u) << text;
  EXPECT_EQ(lines_with(training_output, "version                  " + version).size(), 1u);
  const std::vector<nlohmann::json> records = metrics_of(path("run"));
  EXPECT_EQ(records.front().value("version", ""), version);
  for (size_t i = 1; i < records.size(); ++i) EXPECT_FALSE(records[i].contains("version")) << i;
}

TEST_F(Commands, InspectSaysWhatIsInACheckpoint) {
  const nlohmann::json json = inspect(path("run"));
  EXPECT_EQ(json.value("generation", 0), 250);
  EXPECT_EQ(json.value("seed", 0), 5);
  EXPECT_EQ(json.value("parameters", size_t{0}), kParameters);
  EXPECT_EQ(json.value("state_slots", 0), 256);
  EXPECT_EQ(json.value("noise_law", ""), kNoiseLaw);
  EXPECT_TRUE(json.value("complete", false));
  EXPECT_NE(json.value("config", "").find("population = 256"), std::string::npos);
  const std::string digest = json.value("parameters_digest", "none");
  EXPECT_NE(training_output.find("parameters digest        " + digest), std::string::npos);
  size_t elements = 0;
  for (const nlohmann::json& tensor : json["tensors"]) {
    size_t size = 1;
    for (size_t side : tensor["shape"]) size *= side;
    elements += size;
  }
  EXPECT_EQ(elements, kParameters);

  const std::string text = expect_success(eggroll("inspect --checkpoint " + path("run")));
  EXPECT_NE(text.find("parameters_digest  " + digest), std::string::npos) << text;
  EXPECT_NE(text.find("layers.0.W2          64 x 256"), std::string::npos) << text;
  EXPECT_EQ(inspect(path("run/checkpoint-000000250.h5")), json);
}

TEST_F(Commands, RolloutPlaysItsOwnRecordsAgainAndStopsWhereItIsToldTo) {
  const std::string run = path("swing");
  expect_success(
      eggroll("train --task control --env Pendulum-v1 --layers 1 --width 8"
              " --population 4 --generations 2 --run " +
              run));
  const std::string rollout = "rollout --checkpoint " + run + " --episode 3";
  const std::string whole = expect_success(eggroll(rollout));
  EXPECT_EQ(std::ranges::count(whole, '\n'), 202) << "what it is of, the start, and 200 steps";
  const std::string records = folder->write("records", whole).string();
  EXPECT_EQ(expect_success(eggroll(rollout + " --actions " + records)), whole);
  const std::string marked = folder->write("marked", "\xEF\xBB\xBF" + whole).string();
  EXPECT_EQ(expect_success(eggroll(rollout + " --actions " + marked)), whole);
  const std::string first = expect_success(eggroll(rollout + " --steps 7"));
  EXPECT_EQ(std::ranges::count(first, '\n'), 9);
  EXPECT_TRUE(whole.starts_with(first));
  EXPECT_EQ(expect_success(eggroll(rollout + " --steps 7 --actions " + records)), first);
  const std::string few = folder->write("few", first).string();
  EXPECT_EQ(expect_success(eggroll(rollout + " --steps 7 --actions " + few)), first);
  EXPECT_EQ(run_command(eggroll(rollout + " --steps 8 --actions " + few)).exit_code, 2);
}

TEST_F(Commands, APolicyWithoutNumbersHasNoReturn) {
  const std::string run = path("broken");
  expect_success(
      eggroll("train --task control --env Pendulum-v1 --layers 8 --width 64"
              " --activation relu --learning-rate 1e12 --population 4 --generations 3"
              " --run " +
              run));
  const nlohmann::json json = json_of("evaluate --json --episodes 4 --checkpoint " + run);
  EXPECT_TRUE(json["return"].is_null());
  EXPECT_EQ(json.value("episodes_failed", 0), 4);
  EXPECT_TRUE(expect_success(eggroll("rollout --checkpoint " + run))
                  .ends_with("{\"step\":1,\"failed\":true}\n"));
}

TEST_F(Commands, EvaluateMeasuresTheHeldOutPartAsTrainingDid) {
  // Training takes fewer streams than the 64 asked for where they would have less than 64 bytes.
  const nlohmann::json loss = evaluated(path("run"), "--held-out --streams 31");
  const nlohmann::json last = metrics_of(path("run")).back();
  EXPECT_DOUBLE_EQ(loss.value("bits_per_byte", 0.0), last.value("validation_bits_per_byte", -1.0));
  EXPECT_EQ(loss.value("text_bytes", 0), 2000);
  EXPECT_EQ(loss.value("generation", 0), 250);
  EXPECT_LT(loss.value("integer_bits_per_byte", 9.0), loss.value("bits_per_byte", 0.0));
  EXPECT_NEAR(loss.value("integer_bits_per_byte", 9.0), loss.value("bits_per_byte", 0.0), 0.0626);
  EXPECT_DOUBLE_EQ(loss.value("integer_bits_per_byte", 9.0),
                   -loss.value("score_sum", 0.0) / 16 / loss.value("tokens", 1.0));
}

TEST_F(Commands, EvaluateSplitsTheTextIntoItsStreams) {
  for (int streams : {1, 7, 64}) {
    const nlohmann::json loss = evaluated(path("run"), "--streams " + std::to_string(streams));
    EXPECT_EQ(loss.value("tokens", 0), streams * (40000 / streams - 1));
    EXPECT_EQ(loss.value("text_bytes", 0), 40000);
    EXPECT_LT(loss.value("bits_per_byte", 9.0), 5.5);
    for (const char* threads : {"1", "2", "3"})
      EXPECT_EQ(evaluated(path("run"), "--streams " + std::to_string(streams) + " --threads " +
                                           threads)["score_sum"],
                loss["score_sum"]);
  }
  const std::string text =
      expect_success(eggroll("evaluate --checkpoint " + path("run") + " --data " + path("text")));
  for (const char* name : {"loss ", "score sum ", "unigram ", "bigram ", "gzip -9 "})
    EXPECT_EQ(lines_with(text, name).size(), 1u) << text;
}

TEST_F(Commands, GzipFigureIsThatOfTheCommand) {
  const CommandResult bytes = run_command("gzip -9 -n -c " + path("text") + " | wc -c");
  ASSERT_EQ(bytes.exit_code, 0);
  EXPECT_NEAR(evaluated(path("run")).value("gzip_bits_per_byte", 0.0),
              8 * std::stod(bytes.output) / 40000, 0.01);
}

TEST_F(Commands, SampleWritesThePromptAndThenTheSameTextForTheSameSeed) {
  const std::string prompt = "The silent river ";
  const std::string text = sample("--seed 3 --length 200 --prompt " + quoted(prompt));
  EXPECT_TRUE(text.starts_with(prompt)) << text;
  EXPECT_EQ(text.size(), prompt.size() + 200 + 1);
  EXPECT_EQ(sample("--seed 3 --length 200 --prompt " + quoted(prompt)), text);
  EXPECT_EQ(sample("--seed 3 --length 90 --prompt " + quoted(prompt)),
            text.substr(0, prompt.size() + 90) + "\n");
  EXPECT_NE(sample("--seed 4 --length 200 --prompt " + quoted(prompt)), text);
  EXPECT_NE(sample("--seed 3 --length 200 --prompt 'The lantern saw '").substr(16),
            text.substr(prompt.size()));
}

TEST_F(Commands, SampleIsNarrowedByTemperatureAndTopP) {
  // The likeliest byte alone, whatever the seed.
  const std::string likeliest = sample("--temperature 0 --seed 1 --length 100");
  EXPECT_EQ(sample("--temperature 0 --seed 2 --length 100"), likeliest);
  EXPECT_EQ(sample("--top-p 0.000001 --seed 3 --length 100"), likeliest);
  const auto distinct = [](const std::string& text) {
    std::string bytes = text;
    std::sort(bytes.begin(), bytes.end());
    return std::unique(bytes.begin(), bytes.end()) - bytes.begin();
  };
  EXPECT_GT(distinct(sample("--temperature 3 --length 500")),
            distinct(sample("--temperature 0.5 --length 500")) + 20);
}

TEST_F(Commands, DryRunPrintsWhatARunCostsAndWritesNothing) {
  const std::vector<std::string> before = listed(folder->path());
  const std::string options = "train --dry-run --data " + path("text") + " --run " + path("dry") +
                              " --layers 1 --width 64 --population 64 --tokens-per-update 8";
  const std::string alone = expect_success(eggroll(options));
  EXPECT_NE(alone.find("# parameters           " + std::to_string(kParameters) + "\n"),
            std::string::npos)
      << alone;
  EXPECT_EQ(lines_with(alone, "# memory per rank").size(), 1u);
  EXPECT_EQ(lines_with(alone, "# sent a generation    0 bytes").size(), 1u) << alone;
  EXPECT_EQ(lines_with(alone, "population = 64").size(), 1u);
  const std::string together = expect_success(mpirun(3, options));
  // Twice the model size over the ring, and little else.
  EXPECT_NE(together.find("all-reduce " + std::to_string(2 * 2 * 4 * kParameters)),
            std::string::npos)
      << together;
  EXPECT_EQ(lines_with(together, "# ranks, threads each  3, ").size(), 1u) << together;
  const std::string sharded = expect_success(mpirun(3, options + " --step sharded"));
  EXPECT_NE(sharded.find("reduce-scatter and all-gather " + std::to_string(2 * 5 * kParameters)),
            std::string::npos)
      << sharded;
  EXPECT_EQ(listed(folder->path()), before);

  // What it prints is a config.
  const std::string again = folder->write("dry.ini", alone).string();
  EXPECT_EQ(expect_success(eggroll("train --dry-run --config " + again)), alone);
}

// Of two members the mean is the middle and the deviation half of the distance.
TEST_F(Commands, MetricsSayHowFitnessSpreads) {
  const std::string lm = "--layers 1 --width 64 --tokens-per-update 16 --data " + path("text");
  for (const auto& [name, options] : {std::pair<std::string, std::string>{"lm", lm},
                                      {"quadratic", "--task quadratic"},
                                      {"control", "--task control --env Pendulum-v1 --layers 0"}}) {
    const std::string folder = path("spread-" + name);
    expect_success(eggroll("train --population 2 --generations 3 --run " + folder + " " + options));
    for (const nlohmann::json& record : metrics_of(folder)) {
      const double best = record.value("fitness_best", 0.0),
                   worst = record.value("fitness_worst", 0.0);
      EXPECT_LT(worst, best) << name;
      EXPECT_NEAR(record.value("fitness_mean", 0.0), (best + worst) / 2, 1e-9 * (best - worst))
          << record;
      EXPECT_NEAR(record.value("fitness_deviation", 0.0), (best - worst) / 2, 1e-9 * (best - worst))
          << record;
    }
  }
  // The score of the language model is in sixteenths of a bit, over the 16 bytes that a member reads.
  const nlohmann::json last = metrics_of(path("run")).back();
  EXPECT_DOUBLE_EQ(last.value("fitness_mean", 0.0),
                   -16 * 16 * last.value("train_integer_bits_per_byte", 0.0));
  EXPECT_GT(last.value("fitness_deviation", 0.0), 0);

  expect_success(eggroll("train --population 2 --generations 3 --fitness sign --run " +
                         path("signs") + " --fitness-encoding ternary " + lm));
  EXPECT_FALSE(metrics_of(path("signs")).back().contains("fitness_deviation"));
}

TEST_F(Commands, NamesThatAreNoUtf8AreReplacedInJson) {
  const std::string name = "caf\xE9", run = path(name);
  folder->write(name + ".txt", generated_text(3000));
  expect_success(
      eggroll("train --layers 1 --width 64 --population 32 --tokens-per-update 8"
              " --generations 2 --data " +
              quoted(path(name + ".txt")) + " --run " + quoted(run)));
  const std::string config = inspect(run).value("config", "");
  EXPECT_NE(config.find("caf\xEF\xBF\xBD.txt\n"), std::string::npos) << config;
  const nlohmann::json json = json_of("evaluate --json --held-out --checkpoint " + quoted(run) +
                                      " --data " + quoted(path(name + ".txt")));
  EXPECT_EQ(json.value("text_bytes", 0), 150);
}

TEST_F(Commands, AFolderOfTextIsCountedAndWhatIsNotReadIsSaid) {
  folder->write("texts/a", generated_text(3000));
  std::filesystem::create_symlink("nowhere", *folder / "texts/b");
  const std::string files = "data = " + path("texts") + ": 1 file, 3000 bytes\n",
                    skipped =
                        "data = " + path("texts") + ": not read is b: a link that leads nowhere\n";
  const std::string options =
      " --layers 1 --width 64 --population 32 --tokens-per-update 8"
      " --generations 2 --data " +
      path("texts") + " --run " + path("counted");
  const std::string dry = expect_success(mpirun(2, "train --dry-run" + options));
  EXPECT_NE(dry.find("# " + files + "# " + skipped), std::string::npos) << dry;
  const std::string trained = expect_success(mpirun(2, "train" + options));
  EXPECT_NE(trained.find('\n' + files + skipped), std::string::npos) << trained;
  const std::string evaluated = expect_success(
      eggroll("evaluate --checkpoint " + path("counted") + " --data " + path("texts")));
  EXPECT_TRUE(evaluated.starts_with(files + skipped)) << evaluated;
}

TEST_F(Commands, InitStartsANewRunFromTheParametersOfAnother) {
  expect_success(eggroll("train --init " + path("run") + " --data " + path("text") + " --run " +
                         path("next") +
                         " --layers 1 --width 64 --population 32 --tokens-per-update 8"
                         " --generations 1 --update threshold --alpha 0.000001 --seed 9"));
  // Hardly a weight passes such a threshold in one generation.
  EXPECT_NEAR(evaluated(path("next")).value("bits_per_byte", 9.0),
              evaluated(path("run")).value("bits_per_byte", 0.0), 0.02);
  EXPECT_EQ(inspect(path("next")).value("generation", 0), 1);
  std::filesystem::remove_all(path("next"));
}

TEST_F(Commands, ACheckpointIsReadableWithH5py) {
  run_python(R"(
import h5py, numpy
f = h5py.File(')" +
             path("run/checkpoint-000000250.h5") + R"(', 'r')
a = f.attrs
assert a['format_version'] == 2 and a['generation'] == 250 and a['seed'] == 5, dict(a)
assert a['version'] == b')" EGGROLL_VERSION R"(', a['version']
assert a['layout'].startswith(b'emb embedding low_rank int8 256 64\n'), a['layout']
assert a['slots'] == b'accumulators int32\n', a['slots']
assert b'population = 256' in a['config'] and len(a['parameters_digest']) == 16, dict(a)
shapes = {'emb': (256, 64), 'head': (256, 64), 'ln_out': (64,)}
for name in ('Wf', 'Uf', 'Wh', 'Uh'): shapes['layers.0.' + name] = (64, 64)
for name in ('bf', 'bh', 'ln1', 'ln2'): shapes['layers.0.' + name] = (64,)
shapes['layers.0.W1'], shapes['layers.0.W2'] = (256, 64), (64, 256)
assert {n: d.shape for n, d in f['parameters'].items()} == shapes, list(f['parameters'])
assert all(d.dtype == numpy.int8 for d in f['parameters'].values())
assert {n: d.shape for n, d in f['accumulators'].items()} == shapes
assert all(d.dtype == numpy.int32 for d in f['accumulators'].values())
assert f['states'].shape == (256, 1, 64) and f['states'].dtype == numpy.int8
assert all(numpy.abs(d[()].astype(int)).max() <= 127 for d in f['parameters'].values())
)");
}

TEST_F(Commands, AFileOfParametersFromElsewhereIsEvaluatedSampledAndTrained) {
  const std::string file = path("elsewhere.h5");
  if (!run_python(R"(
import h5py
of, to = h5py.File(')" +
                  path("run/checkpoint-000000250.h5") + R"(', 'r'), h5py.File(')" + file +
                  R"(', 'w')
for name, values in of['parameters'].items(): to['parameters/' + name] = values[()]
to.attrs['config'] = 'layers = 1\nwidth = 64\n'
)"))
    return;
  EXPECT_EQ(evaluated(file)["score_sum"], evaluated(path("run"))["score_sum"]);
  const std::string held_out = expect_success(
      eggroll("evaluate --held-out --checkpoint " + file + " --data " + path("text")));
  EXPECT_EQ(lines_with(held_out, "eggroll: the checkpoint does not say on which text").size(), 1u)
      << held_out;
  EXPECT_EQ(expect_success(eggroll("sample --seed 3 --checkpoint " + file)), sample("--seed 3"));
  const nlohmann::json json = inspect(file);
  EXPECT_FALSE(json.value("complete", true));
  EXPECT_EQ(json.value("parameters", size_t{0}), kParameters);
  const std::string options =
      " --layers 1 --width 64 --population 32 --tokens-per-update 8"
      " --generations 2 --data " +
      path("text");
  expect_success(eggroll("train --init " + file + options + " --run " + path("a")));
  expect_success(mpirun(2, "train --init " + path("run") + options + " --run " + path("b")));
  EXPECT_EQ(digest_of(path("a")), digest_of(path("b")));
}

}  // namespace
}  // namespace eggroll::test
