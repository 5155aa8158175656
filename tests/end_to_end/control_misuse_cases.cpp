// What can be wrong with task control, its evaluate and its rollout.
#include <filesystem>
#include <fstream>

#include "tests/end_to_end/misuse_cases.hpp"
#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {

void write_control_inputs(const std::string& folder) {
  for (const std::string words : {"CartPole-v1 --run pole", "Pendulum-v1 --run swing"})
    expect_success("cd " + quoted(folder) + " && " +
                   eggroll("train --task control --layers 1 --width 8 --population 4 "
                           "--generations 2 --env " +
                           words));
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  };
  write("models/hopper.xml", "<mujoco><worldbody></mujoco>");
  const auto utf16 = [](const std::string& text) {
    std::string wide = "\xFF\xFE";
    for (const char c : text) (wide += c) += '\0';
    return wide;
  };
  write("wide/hopper.xml", utf16("<mujoco/>"));
  write("wide.actions", utf16("0\n1\n"));
  write("wide.ini", utf16("seed = 1\n"));
  write("few.actions", "0\n1\n");
  write("beyond.actions", "0\n1\n2\n");
  write("half.actions", "0.5\n");
  write("words.actions", "left\n");
  write("pairs.actions", "[0.5, 0.5]\n");
  write("nan.actions", "0\nNaN\n");
  write("huge.actions", "0.5\n1e39\n");
  write("record.actions", "{\"step\": 1, \"action\": \"left\"}\n");
}

std::vector<Case> control_cases() {
  const std::string train = "train --task control ", hopper = train + "--env Hopper-v5 ";
  const std::string pole = " --layers 1 --width 8 --init pole";
  const std::string rollout = "rollout --checkpoint pole ",
                    evaluate = "evaluate --checkpoint pole ";
  std::vector<Case> cases = {
      {"unknown environment", train + "--env CartPole", {"env = CartPole (", "CartPole-v1, "}, ""},
      {"no environment", train + "--env ''", {"env = ''", "allowed are CartPole-v1, "}, ""},
      {"models of an environment that has none",
       train + "--model-dir models",
       {"model-dir = models", "env = CartPole-v1"},
       ""},
      {"full observations of an environment that has one kind",
       train + "--full-observations",
       {"full-observations = true", "env = CartPole-v1"},
       ""},
      {"no episodes", train + "--episodes 0", {"episodes = 0", "1 to 1000"}, ""},
      {"no width", train + "--width 0", {"width = 0", "1 to 16384"}, ""},
      {"too many layers", train + "--layers 65", {"layers = 65", "0 to 64"}, ""},
      {"unknown activation", train + "--activation gelu", {"activation = gelu", "tanh, relu"}, ""},
      {"unknown actions", train + "--actions best", {"actions = best", "sampled"}, ""},
      {"whose episodes", train + "--episode-seeds all", {"episode-seeds = all", "pair"}, ""},
      {"no validation episodes",
       train + "--validate-episodes 0",
       {"validate-episodes = 0", "1 to 100000"},
       ""},
      {"control on a GPU", train + "--device cuda", {"device = cuda", "task control", "cpu"}, ""},
      {"fitness of control as a whole number",
       train + "--fitness-encoding int32",
       {"fitness-encoding = int32", "float32"},
       ""},
      {"control with an optimiser of whole numbers",
       train + "--update sigma-delta",
       {"update = sigma-delta", "float32", "adam"},
       ""},
      {"text for control", train + "--data text", {"data (command line)", "task lm"}, ""},
      {"resume in another environment",
       "train --resume pole --env Pendulum-v1",
       {"env = Pendulum-v1", "has CartPole-v1"},
       ""},
      {"init from another environment",
       train + "--env Pendulum-v1" + pole,
       {"init = pole", "[21]", "[16]"},
       ""},
      {"init of another width",
       train + "--layers 1 --width 9 --init pole",
       {"init = pole", "[8, 4]", "[9, 4]"},
       ""},
      {"init with other observations",
       train + "--observations raw" + pole,
       {"init = pole", "tensors"},
       ""},
      {"init from a language model",
       train + "--init done",
       {"init = done", "observations is missing"},
       ""},
      {"evaluate a language model in episodes",
       "evaluate --checkpoint done --data text --episodes 5",
       {"episodes (command line)", "task control", "checkpoint = done is of task lm"},
       ""},
      {"evaluate nothing in episodes",
       "evaluate --episodes 5",
       {"--checkpoint PATH is missing"},
       ""},
      {"evaluate a policy on a text",
       evaluate + "--data text",
       {"data (command line)", "task lm", "checkpoint = pole is of task control"},
       ""},
      {"evaluate no episodes", evaluate + "--episodes 0", {"episodes = 0", "from 1"}, ""},
      {"evaluate a policy on a GPU", evaluate + "--device cuda", {"device = cuda", "cpu"}, ""},
      {"sample from a policy",
       "sample --checkpoint pole",
       {"checkpoint = pole", "task control", "evaluate, rollout"},
       ""},
      {"rollout of a language model",
       "rollout --checkpoint done",
       {"checkpoint = done", "task lm"},
       ""},
      {"rollout of nothing", "rollout", {"--checkpoint PATH is missing"}, ""},
      {"rollout of a cut file",
       "rollout --checkpoint cut.h5",
       {"checkpoint = cut.h5", "truncated"},
       ""},
      {"rollout of no steps", rollout + "--steps 0", {"steps = 0", "from 1"}, ""},
      {"no actions",
       rollout + "--actions none",
       {"actions = none", "No such file or directory"},
       ""},
      {"actions in a folder", rollout + "--actions models", {"actions = models", "folder"}, ""},
      {"no action at all", rollout + "--actions empty", {"actions = empty", "0 actions"}, ""},
      {"too few actions",
       rollout + "--actions few.actions --render pole.gif",
       {"actions = few.actions", "after 2 actions"},
       ""},
      {"a choice out of range",
       rollout + "--actions beyond.actions",
       {"beyond.actions: line 3", "from 0 to 1"},
       ""},
      {"half a choice", rollout + "--actions half.actions", {"half.actions: line 1"}, ""},
      {"two numbers for a choice", rollout + "--actions pairs.actions", {"line 1"}, ""},
      {"words for actions", rollout + "--actions words.actions", {"words.actions: line 1"}, ""},
      {"a record with a word", rollout + "--actions record.actions", {"line 1"}, ""},
      {"actions in another encoding",
       rollout + "--actions wide.actions",
       {"actions = wide.actions", "UTF-16", "allowed is UTF-8"},
       ""},
      {"more numbers than the action has",
       "rollout --checkpoint swing --actions pairs.actions",
       {"pairs.actions: line 1 is no action of Pendulum-v1", "a finite number"},
       ""},
      {"an action that is no number",
       "rollout --checkpoint swing --actions nan.actions",
       {"nan.actions: line 2"},
       ""},
      {"an action beyond all floats",
       "rollout --checkpoint swing --actions huge.actions",
       {"huge.actions: line 2", "a finite number"},
       ""},
      {"pictures of another kind",
       rollout + "--render pole.mp4",
       {"render = pole.mp4", "FILE.gif", "FILE.png"},
       ""},
      {"pictures into a folder that is not there",
       rollout + "--render none/pole.gif",
       {"render = none/pole.gif", "no such folder"},
       ""},
      {"too many frames a second",
       rollout + "--render pole.gif --frames-per-second 51",
       {"frames-per-second = 51", "1 to 50"},
       ""},
  };
  // Where this build has MuJoCo not, it says so instead.
  if (run_command(eggroll(hopper + "--dry-run")).exit_code == 0) {
    cases.push_back({"no folder of models",
                     hopper + "--model-dir none",
                     {"none/hopper.xml", "No such file or directory"},
                     ""});
    cases.push_back({"a model that is broken",
                     hopper + "--model-dir models",
                     {"models/hopper.xml is no model", "XML"},
                     ""});
    cases.push_back({"a model in another encoding",
                     hopper + "--model-dir wide",
                     {"wide/hopper.xml is UTF-16 text", "allowed is UTF-8"},
                     ""});
  }
  return cases;
}

}  // namespace eggroll::test
