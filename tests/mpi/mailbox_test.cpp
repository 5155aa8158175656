// Mail from rank to rank, beside the collectives, in both kinds of groups.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/membership.hpp"
#include "tests/support/mpi_world.hpp"

namespace eggroll {
namespace {

using test::mpi_session;
using test::mpi_world;

const std::vector<size_t> kSizes = {0, 3, 5000, 7, kMailBytes, 1};

std::vector<std::byte> mail_of(int from, int to, size_t number) {
  std::vector<std::byte> bytes(kSizes[number]);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i + 3 * number + 31 * from + 101 * to);
  return bytes;
}

// Every rank to every other one, while a collective operation is under way.
void exchange_letters(Collectives& group) {
  const int me = group.rank(), ranks = group.size();
  std::vector<int32_t> sums(1000, me);
  const uint64_t sent_before = group.bytes_sent();
  const auto pending = group.start_all_reduce_sum(std::span(sums));
  for (size_t number = 0; number < kSizes.size(); ++number)
    for (int to = 0; to < ranks; ++to)
      if (to != me) group.post(to, mail_of(me, to, number));

  std::vector<size_t> arrived(static_cast<size_t>(ranks), 0);
  const size_t expected = kSizes.size() * static_cast<size_t>(ranks - 1);
  for (size_t count = 0; count < expected;) {
    const std::optional<Mail> mail = group.collect();
    if (!mail) continue;
    ++count;
    ASSERT_NE(mail->from, me);
    ASSERT_LT(mail->from, ranks);
    const size_t number = arrived[static_cast<size_t>(mail->from)]++;
    ASSERT_LT(number, kSizes.size());
    EXPECT_EQ(mail->bytes, mail_of(mail->from, me, number)) << "in order";
  }
  Collectives::wait(*pending);
  EXPECT_EQ(sums, std::vector<int32_t>(1000, ranks * (ranks - 1) / 2));
  group.barrier();
  EXPECT_FALSE(group.collect());
  group.barrier();
  size_t all_bytes = 0;
  for (const size_t size : kSizes) all_bytes += size;
  EXPECT_GE(group.bytes_sent() - sent_before, all_bytes * static_cast<size_t>(ranks - 1));
}

TEST(Mailbox, BringsMailInOrderFromWhoeverHasPostedIt) {
  const std::unique_ptr<Collectives> group = mpi_session().world();
  for (int again = 0; again < 3; ++again) exchange_letters(*group);
}

TEST(Mailbox, BringsItInAGroupThatMayLoseRanks) {
  Membership membership(mpi_world(), 30);
  {
    const std::unique_ptr<Collectives> group = mpi_session().group_of(membership);
    for (int again = 0; again < 3; ++again) exchange_letters(*group);
    mpi_world().barrier();
  }
  // What was posted in one view is not for the next one.
  if (mpi_world().size() > 1) {
    const std::unique_ptr<Collectives> group = mpi_session().group_of(membership);
    if (group->rank() == 1) group->post(0, mail_of(1, 0, 2));
  }
  mpi_world().barrier();  // whoever agrees breaks the view for those that still use it
  membership.agree("");
  {
    const std::unique_ptr<Collectives> group = mpi_session().group_of(membership);
    exchange_letters(*group);
  }
  membership.agree_at_end("");
}

TEST(Mailbox, RefusesMailOfTooManyBytes) {
  const std::unique_ptr<Collectives> group = mpi_session().world();
  if (group->size() == 1) GTEST_SKIP() << "nobody to write to";
  EXPECT_THROW(group->post(0, std::vector<std::byte>(kMailBytes + 1)), Error);
}

}  // namespace
}  // namespace eggroll
