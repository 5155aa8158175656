// Options: rows that are bound to the fields of whoever declares them. A row names, documents, parses,
// prints and checks one field; command lines, files, checkpoints and --help know rows alone. Values
// travel as text until those whose fields they are read them.
//
//   struct Settings {
//     double beta1 = 0.9;
//     void declare(Options& to) { to.number("beta1", beta1, 0.0, 0.9999, "decay of the mean"); }
//   };
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/check.hpp"

namespace eggroll {

// The questions under which --help and config.ini list the options.
enum class OptionGroup { data, model, population, learning, machine, records };

// The names of the values of an enum, in their order: specialised for each enum that is an option
// (common/rule_names.hpp).
template <typename Enum>
inline constexpr std::array<std::string_view, 0> kNames = {};
template <typename Enum>
constexpr std::string_view name_in_options(Enum value) {
  static_assert(!kNames<Enum>.empty(), "an enum without names");
  return kNames<Enum>[static_cast<size_t>(value)];
}

// Text from outside as part of a message of one line.
std::string shown(std::string_view text);
std::string shown_or_quotes(std::string_view text);

// An option that does not fit: "NAME = VALUE (source): what". Whoever knows where the value
// came from adds that.
class OptionError : public ConfigError {
 public:
  OptionError(std::string name, std::string value, std::string what, std::string source = {});

  OptionError from(std::string source) const { return {name, value, problem, std::move(source)}; }

  const std::string name, value, problem, source;
};

// A number as short as it can be, that reads back as the same.
std::string number_text(double value);

// All of the text, or false; the value is then what it was.
bool read_number(std::string_view text, double& value);
template <std::integral Integer>
bool read_number(std::string_view text, Integer& value) {
  Integer read{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, read);
  if (error != std::errc{} || rest != end || text.empty()) return false;
  value = read;
  return true;
}

struct Option {
  std::string name;
  OptionGroup group;
  std::string value_name;  // in the help: N, PATH, nearest|floor; empty: a flag without value
  std::string help;        // one line
  std::string allowed;     // "allowed are whole numbers from 2 to 64"
  // The field from text; false where the text is no value that is allowed.
  std::function<bool(std::string_view)> set;
  // The text that set reads back.
  std::function<std::string()> text;
  // Of a span: makes a percentage of the planned generations the number that it stands for.
  std::function<void(uint64_t planned)> pin = nullptr;
  std::string default_note = {};  // what the help shows as default instead of the text
  bool is_of_run = true;  // false: of one invocation; only on the command line, not in config.ini
  bool may_change_on_resume = false;
  bool is_basic = false;     // among the few that the short help shows
  bool is_required = false;  // by a command that has no config

  Option& changeable() {
    may_change_on_resume = true;
    return *this;
  }
  Option& of_invocation() {
    is_of_run = false;
    return *this;
  }
  Option& basic() {
    is_basic = true;
    return *this;
  }
  Option& required() {
    is_required = true;
    return *this;
  }
  Option& default_is(std::string note) {
    default_note = std::move(note);
    return *this;
  }
};

// name -> text
using OptionTexts = std::map<std::string, std::string, std::less<>>;

class Options {
 public:
  // Rows that are declared from now on stand under this question.
  void begin(OptionGroup group) { group_ = group; }

  template <std::integral Integer>
  Option& number(std::string name, Integer& field, std::type_identity_t<Integer> low,
                 std::type_identity_t<Integer> high, std::string help) {
    return add(
        std::move(name), "N", std::move(help),
        "allowed are whole numbers from " + std::to_string(low) + " to " + std::to_string(high),
        [&field, low, high](std::string_view text) {
          Integer value{};
          if (!read_number(text, value) || value < low || value > high) return false;
          field = value;
          return true;
        },
        [&field] { return std::to_string(field); });
  }
  Option& number(std::string name, double& field, double low, double high, std::string help);

  template <typename Enum>
  Option& choice(std::string name, Enum& field, std::string help) requires std::is_enum_v<Enum> {
    static_assert(!kNames<Enum>.empty(), "an enum without names");
    return add(
        std::move(name), joined(kNames<Enum>, "|"), std::move(help),
        "allowed are " + joined(kNames<Enum>, ", "),
        [&field](std::string_view text) {
          for (size_t i = 0; i < kNames<Enum>.size(); ++i)
            if (kNames<Enum>[i] == text) {
              field = static_cast<Enum>(i);
              return true;
            }
          return false;
        },
        [&field] { return std::string(name_in_options(field)); });
  }

  // Text of at least one character, without control characters. An empty field: not given.
  Option& path(std::string name, std::string& field, std::string value_name, std::string help);
  Option& flag(std::string name, bool& field, std::string help);
  // Any other kind of value.
  Option& add(std::string name, std::string value_name, std::string help, std::string allowed,
              std::function<bool(std::string_view)> set, std::function<std::string()> text);

  std::vector<Option>& rows() { return rows_; }
  const std::vector<Option>& rows() const { return rows_; }
  Option* find(std::string_view name);
  const Option* find(std::string_view name) const { return const_cast<Options*>(this)->find(name); }

  // All values, by name.
  OptionTexts texts() const;
  // The fields from their texts, as an earlier texts() gave them; rows that are not among them stay
  // what they are. Throws OptionError where a text is not allowed.
  void read(const OptionTexts& texts);

 private:
  template <size_t N>
  static std::string joined(const std::array<std::string_view, N>& names,
                            std::string_view between) {
    std::string all;
    for (const std::string_view name : names) (all += all.empty() ? "" : between) += name;
    return all;
  }

  OptionGroup group_ = OptionGroup::learning;
  std::vector<Option> rows_;
};

// The settings that lie as text in a configuration, typed.
template <typename Settings>
Settings read_settings(const OptionTexts& texts) {
  Settings settings;
  Options options;
  settings.declare(options);
  options.read(texts);
  return settings;
}

// A number of generations, given as such or as a percentage of the planned ones ("42%").
struct GenerationSpan {
  double value = 1000;
  bool is_percent = false;

  double generations(uint64_t planned) const {
    return is_percent ? value / 100.0 * static_cast<double>(planned) : value;
  }
  bool operator==(const GenerationSpan&) const = default;
};
Option& add_span(Options& to, std::string name, GenerationSpan& field, std::string help);

}  // namespace eggroll
