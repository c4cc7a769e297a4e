#include "firmware/guard/guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>

#include <cerrno>
#include <span>

#include "firmware/guard/policy.h"

namespace stele::guard {
namespace {

constexpr const char* kMaps[GUARD_MAPS] = {"devices", "open_characters", "settings"};

Result<int> MapOf(bpf_object* object, const char* name) {
  const int map = bpf_object__find_map_fd_by_name(object, name);
  if (map < 0) return Fail(Code::kCorrupt, std::string("the guard has no map ") + name);
  return map;
}

Result<void> Put(bpf_object* object, const char* map_name, std::uint32_t key, const void* value) {
  STELE_TRY(const int map, MapOf(object, map_name));
  if (bpf_map_update_elem(map, &key, value, BPF_ANY) != 0)
    return FailErrno(std::string("fill the guard's map ") + map_name);
  return {};
}

}  // namespace

Result<Guard> Guard::Load(const std::vector<std::byte>& object, const std::string& pins) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  Guard guard;
  guard.object_ = bpf_object__open_mem(object.data(), object.size(), nullptr);
  if (guard.object_ == nullptr) return FailErrno("open the guard");
  if (bpf_object__load(guard.object_) != 0) return FailErrno("load the guard");
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, guard.object_) {
    bpf_link* link = bpf_program__attach(program);
    if (link == nullptr) return FailErrno(std::string("attach ") + bpf_program__name(program));
    if (bpf_link__pin(link, (pins + "/" + bpf_program__name(program)).c_str()) != 0) {
      return FailErrno(std::string("pin ") + bpf_program__name(program));
    }
  }
  return guard;
}

Result<void> Guard::Arm(const std::vector<LogPartition>& logs, const std::vector<std::uint32_t>& open_characters,
                        std::uint64_t variable) {
  for (const LogPartition& log : logs) {
    const std::uint32_t state = log.sealed ? kLogSealed : kLogOpen;
    STELE_TRY_VOID(Put(object_, "devices", log.device, &state));
  }
  for (const std::uint32_t key : open_characters) {
    const std::uint32_t open = 1;
    STELE_TRY_VOID(Put(object_, "open_characters", key, &open));
  }
  guard_settings settings{};
  settings.armed = 1;
  settings.variable = variable;
  struct stat mount_namespace {};
  if (::stat("/proc/self/ns/mnt", &mount_namespace) != 0) return FailErrno("look at the mount namespace");
  settings.mount_namespace = static_cast<unsigned>(mount_namespace.st_ino);
  for (std::size_t i = 0; i < GUARD_MAPS; ++i) {
    STELE_TRY(const int map, MapOf(object_, kMaps[i]));
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0)
      return FailErrno(std::string("ask for the guard's map ") + kMaps[i]);
    settings.maps[i] = info.id;
  }
  return Put(object_, "settings", 0, &settings);
}

}  // namespace stele::guard
