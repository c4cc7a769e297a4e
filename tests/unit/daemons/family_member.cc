// A member of a test family: a real process that follows docs/processes.md and writes down what it sees, one line each, to
// the file its configuration names.
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "appliance/channel/control.h"

namespace stele {
namespace {

using nlohmann::json;

void Write(const std::string& path, const std::string& line) {
  const UniqueFd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const std::string text = line + "\n";
  (void)!::write(out.get(), text.data(), text.size());
}

std::vector<int> OpenDescriptors() {
  std::vector<int> open;
  for (int fd = 0; fd < 1'024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) open.push_back(fd);
  }
  return open;
}

bool SignalsAreDefault() {
  sigset_t blocked;
  (void)::sigprocmask(SIG_SETMASK, nullptr, &blocked);
  struct sigaction action {};
  (void)::sigaction(SIGINT, nullptr, &action);
  return ::sigismember(&blocked, SIGINT) == 0 && ::sigismember(&blocked, SIGTERM) == 0 && action.sa_handler == SIG_DFL;
}

struct Member {
  std::map<std::string, UniqueFd> links;
  std::string out;
  std::string mode;

  int Serve();
  bool HearControl();
  void HearLinks(const std::vector<pollfd>& polled, const std::vector<std::string>& roles);
};

bool Member::HearControl() {
  auto frame = channel::Receive(channel::kControlFd, false, true);
  if (!frame) return frame.error().code == Code::kUnavailable;
  if (frame->type == channel::Type::kStop) {
    if (mode == "deaf") return true;
    Write(out, "stop");
    return false;
  }
  if (frame->type == channel::Type::kTakeChannel) {
    const auto what = channel::DecodeTakeChannel(frame->body);
    if (!what || frame->descriptors.size() != 1) return false;
    Write(out, "take " + what->role);
    links[what->role] = std::move(frame->descriptors.front());
  }
  if (frame->type == channel::Type::kNotice) {  // "send ROLE": say something to that peer
    const std::string role = std::string(AsText(frame->body)).substr(5);
    const auto sent = channel::Send(links[role].get(), channel::Type::kCounters, AsBytes("hello"));
    Write(out, (sent ? "sent " : "not sent ") + role);
  }
  return true;
}

void Member::HearLinks(const std::vector<pollfd>& polled, const std::vector<std::string>& roles) {
  for (std::size_t i = 0; i < roles.size(); ++i) {
    if (polled[i].revents == 0) continue;
    auto& link = links[roles[i]];
    const auto frame = channel::Receive(link.get(), false);
    if (frame) {
      Write(out, "got from " + roles[i]);
    } else if (frame.error().code == Code::kNotFound) {
      Write(out, "lost " + roles[i]);
      link.reset();
    }
  }
}

int Member::Serve() {
  for (;;) {
    std::vector<pollfd> polled;
    std::vector<std::string> roles;
    for (const auto& [role, link] : links) {
      if (!link.valid()) continue;
      roles.push_back(role);
      polled.push_back({link.get(), POLLIN, 0});
    }
    polled.push_back({channel::kControlFd, POLLIN, 0});
    (void)::poll(polled.data(), polled.size(), -1);
    const bool control = polled.back().revents != 0;
    polled.pop_back();
    HearLinks(polled, roles);
    if (control && !HearControl()) return EXIT_SUCCESS;
  }
}

// The names of the interfaces it sees, those that are up with a '+'.
std::vector<std::string> Interfaces() {
  std::vector<std::string> names;
  const UniqueFd probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct if_nameindex* all = ::if_nameindex();
  for (const struct if_nameindex* at = all; at != nullptr && at->if_index != 0; ++at) {
    ifreq request{};
    std::strncpy(request.ifr_name, at->if_name, IFNAMSIZ - 1);
    const bool up = ::ioctl(probe.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
    names.push_back(at->if_name + std::string(up ? "+" : ""));
  }
  if (all != nullptr) ::if_freenameindex(all);
  return names;
}

int Main() {
  auto start = channel::ReceiveStartUp(channel::kControlFd);
  if (!start) return EXIT_SUCCESS;
  const json configuration = json::parse(start->configuration_json);
  Member member;
  member.out = configuration.value("out", "");
  member.mode = configuration.value("mode", "");
  if (member.mode == "dies") return 7;
  json seen = {{"descriptors", OpenDescriptors().size() - start->channels.size()},
               {"own_session", ::getsid(0) == ::getpid()},
               {"signals_default", SignalsAreDefault()},
               {"interfaces", Interfaces()},
               {"secret", std::getenv("STELE_TEST_SECRET") != nullptr}};
  for (auto& given : start->channels) {
    seen["channels"].push_back(given.what.role);
    member.links[given.what.role] = std::move(given.descriptor);
  }
  Write(member.out, "start");
  if (!channel::SendReady(channel::kControlFd, seen.dump())) return EXIT_FAILURE;
  return member.Serve();
}

}  // namespace
}  // namespace stele

int main() { return stele::Main(); }
