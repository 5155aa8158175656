// One state machine in one thread, leading or following, whose state is who is connected and what
// each has said: longer than a file should be, as both halves work on the same members. Its rule is
// in view.cpp, its messages in membership_frames.cpp, its sockets in frame_connection.cpp.
#include "common/messages/membership.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "common/check.hpp"
#include "common/messages/agreement.hpp"
#include "common/messages/frame_connection.hpp"
#include "common/messages/membership_frames.hpp"
#include "common/start_thread.hpp"

namespace eggroll {

using namespace membership;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr std::chrono::seconds kStartFor{30};  // for all ranks to connect to rank 0
constexpr milliseconds kConnectFor{300};       // to one address
constexpr milliseconds kRound{50};             // of the thread, when nothing happens
constexpr milliseconds kFarewell{500};

bool same_host(const Endpoint& a, const Endpoint& b) { return a.host == b.host; }

// Whether this process sees that one: on the own host, unless a container stands between.
bool is_visible(const Endpoint& other, const Endpoint& mine) {
  return same_host(other, mine) && (kill(other.pid, 0) == 0 || errno != ESRCH);
}

// The leader holds a connection for each rank.
void allow_descriptors(size_t count) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count + 256) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, count + 256);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

class Membership::Service {
 public:
  Service(Collectives& world, double silence_s)
      : me_(world.rank()),
        silence_(
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(silence_s))),
        wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        listener_(Listener::open()),
        members_(static_cast<size_t>(world.size())) {
    allow_descriptors(members_.size());
    cookie_ = std::random_device{}() | uint64_t{std::random_device{}()} << 32;
    world.broadcast(bytes_of(cookie_));
    std::vector<Endpoint> endpoints(members_.size());
    world.all_gather(bytes_of(listener_.endpoint), bytes_of(endpoints));
    for (size_t r = 0; r < members_.size(); ++r) {
      members_[r].endpoint = endpoints[r];
      members_[r].was_visible = is_visible(endpoints[r], listener_.endpoint);
      view_.ranks.push_back(static_cast<int>(r));
    }
    view_.proposals.resize(view_.ranks.size());
    const Clock::time_point limit = Clock::now() + kStartFor;
    while (!is_connected() && Clock::now() < limit) {
      if (me_ == 0)
        exchange();
      else
        to_leader_ = greet(0);
    }
    const auto failure =
        first_failure(world, is_connected() ? "" : start_problem(), is_connected() ? 0 : 2);
    if (failure) throw ConfigError(failure->message);
    heard_from_all();
    thread_ = start_thread([this] { serve(); });
  }

  ~Service() {
    stop_ = true;
    wake();
    if (thread_.joinable()) thread_.join();
    // What was said last still reaches the others.
    for (Member& member : members_)
      if (member.connection) member.connection->end_sending();
    if (to_leader_) to_leader_->end_sending();
    const Clock::time_point limit = Clock::now() + kFarewell;
    for (Member& member : members_)
      while (member.connection && member.connection->is_open() && Clock::now() < limit) {
        member.connection->read();
        std::this_thread::sleep_for(milliseconds(1));
      }
  }

  const View& view() const { return view_; }
  bool is_broken() const { return is_broken_.load(std::memory_order_relaxed); }

  const View& agree(std::string proposal, bool at_end) {
    std::unique_lock lock(mutex_);
    const uint32_t before = view_.number;
    my_proposal_ = Proposal{std::move(proposal), at_end};
    wake();
    changed_.wait(lock, [&] { return view_.number != before || !shut_out_.empty(); });
    if (!shut_out_.empty()) throw Error(shut_out_);
    return view_;
  }

  int ranks_on_this_node() const {
    int count = 0;
    for (const int r : view_.ranks) count += same_host(of(r).endpoint, of(me_).endpoint);
    return count;
  }

 private:
  struct Member {
    Endpoint endpoint;
    bool was_visible = false;                     // at the start, as a process of this host
    std::unique_ptr<FrameConnection> connection;  // of a leader to this rank
    Clock::time_point heard;
    Standing standing;
    std::string reason;  // of its loss
    std::optional<Proposal> proposal;
  };
  // A connection that somebody made to this rank: who it is is not known yet, or this rank does not
  // lead (yet).
  struct Caller {
    std::unique_ptr<FrameConnection> connection;
    int rank = -1;
    uint32_t view = 0;
    std::optional<Proposal> proposal;
  };

  Member& of(int rank) { return members_[static_cast<size_t>(rank)]; }
  const Member& of(int rank) const { return members_[static_cast<size_t>(rank)]; }
  bool is_leader() const { return leader_ == me_; }
  bool is_gone(const Member& member) const {
    return member.was_visible && !is_visible(member.endpoint, listener_.endpoint);
  }
  bool in_view(int rank) const { return std::ranges::binary_search(view_.ranks, rank); }
  void wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
  }
  void heard_from_all() {
    heard_leader_ = Clock::now();
    for (Member& member : members_) member.heard = heard_leader_;
  }

  // ---- start ----

  bool is_connected() const {
    if (me_ != 0) return to_leader_ != nullptr;
    return std::ranges::all_of(view_.ranks,
                               [&](int r) { return r == me_ || of(r).connection != nullptr; });
  }
  std::string start_problem() const {
    if (me_ != 0)
      return fmt::format("survive = true: rank {} cannot reach rank 0 on {}", me_,
                         of(0).endpoint.text());
    const auto missing = std::ranges::find_if(
        view_.ranks, [&](int r) { return r != 0 && of(r).connection == nullptr; });
    return fmt::format("survive = true: rank {} on {} has not connected to rank 0 on {}", *missing,
                       of(*missing).endpoint.text(), of(0).endpoint.text());
  }

  // ---- the thread ----

  void serve() {
    Clock::time_point last_round = Clock::now();
    Clock::time_point last_beat;
    while (!stop_) {
      exchange();
      const Clock::time_point now = Clock::now();
      // This process was stopped, or starved: what the others did meanwhile is being read, and
      // nobody is blamed for this rank's own silence. Ends of connections found now may be answers
      // to that silence, so they are no proof that somebody ended.
      if (now - last_round > silence_ / 2) {
        heard_from_all();
        doubtful_until_ = now + silence_;
      }
      last_round = now;
      const std::lock_guard lock(mutex_);
      if (!shut_out_.empty()) continue;
      if (is_leader())
        lead();
      else
        follow();
      if (now - last_beat < silence_ / 16) continue;
      last_beat = now;
      say_to_all(beat_frame());
    }
  }

  // Moves bytes for one round.
  void exchange() {
    std::vector<pollfd> ready = {{wake_.get(), POLLIN, 0}, {listener_.socket.get(), POLLIN, 0}};
    const auto add = [&](const FrameConnection& c) {
      if (c.is_open())
        ready.push_back(
            {c.descriptor(), static_cast<short>(POLLIN | (c.has_unsent() ? POLLOUT : 0)), 0});
    };
    for_each_connection(add);
    poll(ready.data(), ready.size(), static_cast<int>(kRound.count()));
    uint64_t ignored = 0;
    [[maybe_unused]] const ssize_t count = read(wake_.get(), &ignored, sizeof ignored);
    while (auto arrived = listener_.accept()) callers_.push_back({std::move(arrived), -1, 0, {}});
    for_each_connection([](FrameConnection& c) {
      c.flush();
      c.read();
    });
    const std::lock_guard lock(mutex_);
    for (Caller& caller : callers_) hear(caller);
    std::erase_if(callers_, [](const Caller& c) { return !c.connection; });
    if (is_leader()) adopt_callers();
  }

  template <typename Do>
  void for_each_connection(Do&& act) {
    for (Member& member : members_)
      if (member.connection) act(*member.connection);
    for (Caller& caller : callers_)
      if (caller.connection) act(*caller.connection);
    for (auto& connection : dismissed_) act(*connection);
    if (to_leader_) act(*to_leader_);
  }

  void say_to_all(const std::string& frame) {
    for (Member& member : members_)
      if (member.connection && !member.standing.is_lost) member.connection->send(frame);
    if (to_leader_) to_leader_->send(frame);
  }

  // Somebody new says who it is, and later perhaps its proposal, should this rank come to lead.
  void hear(Caller& caller) {
    while (const auto frame = caller.connection->take()) {
      const auto hello = caller.rank < 0 ? parse_hello(*frame) : std::nullopt;
      if (hello && hello->cookie == cookie_ && hello->target == me_ && hello->rank >= 0 &&
          hello->rank < static_cast<int>(members_.size())) {
        caller.rank = hello->rank;
        caller.view = hello->view;
        if (!in_view(caller.rank) || of(caller.rank).standing.is_lost || caller.rank < me_)
          return dismiss(std::move(caller.connection), "the other ranks took it for lost");
        caller.connection->send(welcome_frame());
      } else if (auto proposal = caller.rank >= 0 ? parse_proposal(*frame) : std::nullopt) {
        caller.proposal = std::move(proposal);
      } else if (caller.rank < 0) {
        caller.connection.reset();  // none of ours
        return;
      }
    }
    if (!caller.connection->is_open()) caller.connection.reset();
  }

  void adopt_callers() {
    for (Caller& caller : callers_) {
      if (caller.rank < 0) continue;
      Member& member = of(caller.rank);
      member.connection = std::move(caller.connection);
      member.heard = Clock::now();
      if (caller.proposal) member.proposal = std::move(caller.proposal);
      newest_view_ = std::max(newest_view_, caller.view);
      if (is_broken()) member.connection->send(broken_frame(view_.number));
    }
    std::erase_if(callers_, [](const Caller& c) { return !c.connection; });
  }

  // The connection stays open, so that its end says nothing: the last word is in the frame.
  void dismiss(std::unique_ptr<FrameConnection> connection, const std::string& why) {
    if (!connection) return;
    connection->send(shut_out_frame(why));
    connection->end_sending();
    dismissed_.push_back(std::move(connection));
  }

  // has_ended: for certain; else it was silent for too long, or may be at work elsewhere.
  void lose(int rank, bool has_ended, const std::string& reason) {
    Member& member = of(rank);
    member.standing = {.is_lost = true, .has_ended = has_ended};
    member.reason = fmt::format("rank {} on {}: {}", rank, member.endpoint.host_text(), reason);
    const std::string why = "the other ranks took it for lost: " + reason;
    dismiss(std::move(member.connection), why);
    if (rank == leader_) dismiss(std::move(to_leader_), why);
  }
  std::string reason(bool is_silent) const {
    if (!is_silent) return "its process ended";
    return fmt::format("silent for {:.0f} s", std::chrono::duration<double>(silence_).count());
  }

  // ---- leading ----

  void lead() {
    const Clock::time_point now = Clock::now();
    bool breaks = my_proposal_ && !my_proposal_->at_end;
    for (const int r : view_.ranks) {
      if (r == me_) continue;
      Member& member = of(r);
      if (!member.standing.is_lost) {
        if (member.connection) take_frames(member);
        if (!shut_out_.empty()) return;
        const bool has_closed = member.connection && !member.connection->is_open();
        const bool is_certain = (has_closed && now > doubtful_until_) ||
                                ((has_closed || !member.connection) && is_gone(member));
        const bool is_silent = now - member.heard > silence_;
        if (has_closed || is_certain || is_silent)
          lose(r, is_certain, reason(!has_closed && !is_certain));
      }
      breaks |= member.standing.is_lost || (member.proposal && !member.proposal->at_end);
    }
    if (breaks && !is_broken()) {
      is_broken_ = true;
      say_to_all(broken_frame(view_.number));
    }
    form_next_view();
  }

  void take_frames(Member& member) {
    while (const auto frame = member.connection->take()) {
      member.heard = Clock::now();
      if (auto proposal = parse_proposal(*frame)) member.proposal = std::move(proposal);
      if (kind_of(*frame) == FrameKind::shut_out) return be_shut_out(reason_in(*frame));
    }
  }

  void form_next_view() {
    View next;
    std::vector<Standing> standings;
    for (const int r : view_.ranks) {
      const Member& member = of(r);
      standings.push_back(member.standing);
      if (member.standing.is_lost) {
        next.lost.push_back(member.reason);
        continue;
      }
      const auto& proposal = r == me_ ? my_proposal_ : member.proposal;
      if (!proposal) return;  // still on its way
      next.ranks.push_back(r);
      next.proposals.push_back(proposal->text);
    }
    if (!may_go_on(standings)) {
      const std::string why = fmt::format(
          "only {} of {} ranks can reach each other, too few to go on ({}); go on with "
          "--resume",
          next.ranks.size(), not_ended(standings), next.lost.back());
      say_to_all(shut_out_frame(why));
      return be_shut_out(why);
    }
    next.number = std::max(newest_view_, view_.number) + 1;
    say_to_all(view_frame(next));
    install(std::move(next));
  }

  // ---- following ----

  void follow() {
    const Clock::time_point now = Clock::now();
    if (!to_leader_) return look_for_leader();
    while (const auto frame = to_leader_->take()) {
      heard_leader_ = now;
      switch (kind_of(*frame)) {
        case FrameKind::broken:
          is_broken_ = true;
          break;
        case FrameKind::view:
          if (auto next = view_in(*frame)) install(std::move(*next));
          break;
        case FrameKind::shut_out:
          return be_shut_out(reason_in(*frame));
        default:
          break;
      }
    }
    if (my_proposal_ && !proposal_is_sent_) {
      to_leader_->send(proposal_frame(*my_proposal_));
      proposal_is_sent_ = true;
    }
    const bool is_silent = now - heard_leader_ > silence_;
    if (to_leader_->is_open() && !is_silent) return;
    const bool is_certain = !is_silent && (now > doubtful_until_ || is_gone(of(leader_)));
    lose(leader_, is_certain, reason(is_silent));
    next_leader();
  }

  void next_leader() {
    is_broken_ = true;
    proposal_is_sent_ = false;
    leader_ = *std::ranges::find_if(view_.ranks,
                                    [&](int r) { return r == me_ || !of(r).standing.is_lost; });
    heard_from_all();
    if (is_leader()) {
      newest_view_ = view_.number;
      for (Member& member : members_) member.proposal.reset();
      adopt_callers();
    }
  }

  void look_for_leader() {
    bool has_gone = is_gone(of(leader_));
    if (!has_gone) to_leader_ = greet(leader_, &has_gone);
    if (to_leader_) {
      heard_leader_ = Clock::now();
      return;
    }
    const bool is_silent = Clock::now() - heard_leader_ > silence_;
    if (!has_gone && !is_silent) return;
    lose(leader_, has_gone, reason(!has_gone));
    next_leader();
  }

  // A connection to a rank that has said welcome.
  std::unique_ptr<FrameConnection> greet(int rank, bool* has_gone = nullptr) {
    Connected connected = connect_to(of(rank).endpoint, kConnectFor);
    if (has_gone) *has_gone = connected.result == ConnectResult::refused;
    if (!connected.connection) {
      std::this_thread::sleep_for(milliseconds(5));
      return nullptr;
    }
    connected.connection->send(
        hello_frame({.cookie = cookie_, .target = rank, .rank = me_, .view = view_.number}));
    const Clock::time_point limit = Clock::now() + 2 * kConnectFor;
    while (Clock::now() < limit && connected.connection->is_open()) {
      pollfd ready{connected.connection->descriptor(), POLLIN, 0};
      poll(&ready, 1, 10);
      connected.connection->read();
      const auto frame = connected.connection->take();
      if (!frame) continue;
      if (kind_of(*frame) == FrameKind::welcome) return std::move(connected.connection);
      if (kind_of(*frame) == FrameKind::shut_out) be_shut_out(reason_in(*frame));
      return nullptr;
    }
    return nullptr;
  }

  // ---- both ----

  void install(View next) {
    view_ = std::move(next);
    my_proposal_.reset();
    proposal_is_sent_ = false;
    newest_view_ = view_.number;
    for (size_t r = 0; r < members_.size(); ++r) {
      members_[r].proposal.reset();
      members_[r].standing.is_lost |= !in_view(static_cast<int>(r));
    }
    is_broken_ = false;
    changed_.notify_all();
  }

  void be_shut_out(const std::string& why) {
    shut_out_ = "goes no further: " + why;
    is_broken_ = true;
    changed_.notify_all();
  }

  const int me_;
  const Clock::duration silence_;
  const Descriptor wake_;
  const Listener listener_;
  uint64_t cookie_ = 0;

  std::mutex mutex_;  // what the thread and agree() share: view, proposal, shut_out
  std::condition_variable changed_;
  View view_;
  std::optional<Proposal> my_proposal_;
  std::string shut_out_;
  std::atomic<bool> is_broken_ = false;
  std::atomic<bool> stop_ = false;

  // The thread's own.
  int leader_ = 0;
  std::vector<Member> members_;
  std::vector<Caller> callers_;
  std::vector<std::unique_ptr<FrameConnection>> dismissed_;
  std::unique_ptr<FrameConnection> to_leader_;
  bool proposal_is_sent_ = false;
  uint32_t newest_view_ = 0;
  Clock::time_point heard_leader_;
  Clock::time_point doubtful_until_;
  std::thread thread_;
};

Membership::Membership(Collectives& world, double silence_s)
    : service_(std::make_unique<Service>(world, silence_s)) {}
Membership::~Membership() = default;
const View& Membership::view() const { return service_->view(); }
bool Membership::is_broken() const { return service_->is_broken(); }
const View& Membership::agree(std::string proposal) {
  return service_->agree(std::move(proposal), /*at_end=*/false);
}
const View& Membership::agree_at_end(std::string proposal) {
  return service_->agree(std::move(proposal), /*at_end=*/true);
}
int Membership::ranks_on_this_node() const { return service_->ranks_on_this_node(); }

}  // namespace eggroll
