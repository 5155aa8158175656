// config_for_resume: a saved config and a command line that goes on with it.
// Input: the saved text, then arguments, all with a zero byte between them.
#include "common/check.hpp"
#include "common/config.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/option_catalogue.hpp"

using namespace eggroll;
using test::toy_catalogue;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> arguments = test::parts_of(test::text_of(data, size));
  const std::string text = arguments[0];
  arguments.erase(arguments.begin());
  try {
    const RunConfig saved = parse_config_text(text, "saved", toy_catalogue());
    const ParsedConfig parsed = parse_train_config(arguments, toy_catalogue());
    RunConfig config = config_for_resume(saved, parsed, toy_catalogue());
    validate_config(config, toy_catalogue(), parsed.given);
    // Rank 0 sends it to the others as text.
    config.resume.clear();
    config.dry_run = config.survive = config.auto_resume = false;
    config.max_seconds = 0;
    test::must_hold(
        parse_config_text(write_config(config, toy_catalogue()), "sent", toy_catalogue()) == config,
        "the resumed config travels as text");
    test::must_hold(config.seed == saved.seed && config.population == saved.population &&
                        config.task == saved.task && config.update == saved.update,
                    "a resumed run keeps what decides its results");
  } catch (const ConfigError&) {
  }
  return 0;
}
