// Programs and maps of eBPF: bpf(2). What a program does is built in TypeScript (src/net/bpf-program.ts).
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

int callBpf(int command, bpf_attr* attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

uint64_t addressOf(const void* data) { return reinterpret_cast<uintptr_t>(data); }

Napi::Value bpfMap(const Napi::CallbackInfo& info) {
  uint32_t type = 0, keyBytes = 0, valueBytes = 0, entries = 0;
  if (!readArguments(info, &type, &keyBytes, &valueBytes, &entries)) return info.Env().Undefined();
  bpf_attr attributes = {};
  attributes.map_type = type;
  attributes.key_size = keyBytes;
  attributes.value_size = valueBytes;
  attributes.max_entries = entries;
  return outcome(info, callBpf(BPF_MAP_CREATE, &attributes));  // close-on-exec always
}

// The kernel reads as many bytes as the map's keys and values have: bpfMap's caller knows both.
template <int Command, bool HasValue>
Napi::Value useElement(const Napi::CallbackInfo& info) {
  int32_t map;
  Span<uint8_t> key, value;
  if (!readArguments(info, &map, &key)) return info.Env().Undefined();
  if (HasValue && !readArgument(info, 2, &value)) return info.Env().Undefined();
  bpf_attr attributes = {};
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = addressOf(key.data);
  attributes.value = addressOf(value.data);
  return outcome(info, callBpf(Command, &attributes));
}

// A socket filter has none: the field is zero.
constexpr bpf_attach_type kNoAttachType = BPF_CGROUP_INET_INGRESS;

template <bpf_prog_type Type, bpf_attach_type Attach>
Napi::Value loadProgram(const Napi::CallbackInfo& info) {
  Span<uint8_t> instructions, log;
  if (!readArguments(info, &instructions, &log)) return info.Env().Undefined();
  static const char kLicense[] = "MIT";
  bpf_attr attributes = {};
  attributes.prog_type = Type;
  attributes.expected_attach_type = Attach;
  attributes.insns = addressOf(instructions.data);
  attributes.insn_cnt = static_cast<uint32_t>(instructions.length / sizeof(bpf_insn));
  attributes.license = addressOf(kLicense);
  if (log.length > 0) {
    attributes.log_buf = addressOf(log.data);
    attributes.log_size = static_cast<uint32_t>(log.length);
    attributes.log_level = 1;
  }
  return outcome(info, callBpf(BPF_PROG_LOAD, &attributes));
}

template <bpf_attach_type Attach>
Napi::Value linkProgram(const Napi::CallbackInfo& info) {
  int32_t program = -1, place = -1;
  if (!readArguments(info, &program, &place)) return info.Env().Undefined();
  bpf_attr attributes = {};
  attributes.link_create.prog_fd = static_cast<uint32_t>(program);
  attributes.link_create.target_fd = static_cast<uint32_t>(place);
  attributes.link_create.attach_type = Attach;
  return outcome(info, callBpf(BPF_LINK_CREATE, &attributes));  // close-on-exec always
}

// With no room for them, the kernel only counts the instructions.
Napi::Value filterLength(const Napi::CallbackInfo& info) {
  int32_t fd = -1;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  socklen_t count = 0;
  const int result = ::getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &count);
  return outcome(info, result < 0 ? result : static_cast<int>(count));
}

// The pages of a map of type BPF_MAP_TYPE_RINGBUF: the reader's position, which is ours to write, the position of the
// writers, and the records twice in a row, so that none is cut by the end (kernel/bpf/ringbuf.c).
class BpfRing : public Napi::ObjectWrap<BpfRing> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "BpfRing",
                       {InstanceMethod<&BpfRing::read>("read"), InstanceMethod<&BpfRing::close>("close"),
                        InstanceAccessor<&BpfRing::status>("status")});
  }

  explicit BpfRing(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfRing>(info) {
    int32_t map;
    uint32_t bytes;
    if (!readArgument(info, 0, &map) || !readArgument(info, 1, &bytes)) return;
    page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    bytes_ = bytes;
    void* own = ::mmap(nullptr, page_, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    if (own == MAP_FAILED) {
      status_ = -errno;
      return;
    }
    own_ = own;
    void* records = ::mmap(nullptr, page_ + 2 * bytes_, PROT_READ, MAP_SHARED, map, static_cast<off_t>(page_));
    if (records == MAP_FAILED) {
      status_ = -errno;
      unmap();
      return;
    }
    records_ = records;
  }

  ~BpfRing() override { unmap(); }

 private:
  Napi::Value status(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), status_); }

  // Positions only grow, and wrap around with the size of a long.
  Napi::Value read(const Napi::CallbackInfo& info) {
    Span<uint8_t> into;
    if (!readArguments(info, &into)) return info.Env().Undefined();
    if (records_ == nullptr) return Napi::Number::New(info.Env(), status_ < 0 ? status_ : -EBADF);
    auto* const position = static_cast<unsigned long*>(own_);
    const auto* const written = static_cast<const unsigned long*>(records_);
    const auto* const data = static_cast<const uint8_t*>(records_) + page_;
    unsigned long at = *position;
    while (at != __atomic_load_n(written, __ATOMIC_ACQUIRE)) {
      const uint8_t* const record = data + (at & (bytes_ - 1));
      const uint32_t header = __atomic_load_n(reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
      if ((header & BPF_RINGBUF_BUSY_BIT) != 0) break;
      const uint32_t length = header & ~BPF_RINGBUF_DISCARD_BIT;
      if (length > bytes_) return Napi::Number::New(info.Env(), -EBADMSG);
      const bool isThrownAway = (header & BPF_RINGBUF_DISCARD_BIT) != 0;
      if (!isThrownAway) memcpy(into.data, record + BPF_RINGBUF_HDR_SZ, length < into.length ? length : into.length);
      at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
      __atomic_store_n(position, at, __ATOMIC_RELEASE);
      if (!isThrownAway) return Napi::Number::New(info.Env(), length);
    }
    return Napi::Number::New(info.Env(), -EAGAIN);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    unmap();
    return info.Env().Undefined();
  }

  void unmap() {
    if (records_ != nullptr) ::munmap(records_, page_ + 2 * bytes_);
    if (own_ != nullptr) ::munmap(own_, page_);
    records_ = own_ = nullptr;
  }

  int status_ = 0;
  size_t page_ = 0;
  size_t bytes_ = 0;
  void* own_ = nullptr;
  void* records_ = nullptr;
};

}  // namespace

void exportBpf(Napi::Env env, Napi::Object exports) {
  exportFunction<bpfMap>(env, exports, "bpfMap");
  exportFunction<useElement<BPF_MAP_UPDATE_ELEM, true>>(env, exports, "bpfSet");
  exportFunction<useElement<BPF_MAP_LOOKUP_ELEM, true>>(env, exports, "bpfGet");
  exportFunction<useElement<BPF_MAP_DELETE_ELEM, false>>(env, exports, "bpfDelete");
  exportFunction<loadProgram<BPF_PROG_TYPE_SOCKET_FILTER, kNoAttachType>>(env, exports, "bpfSocketFilter");
  exportFunction<loadProgram<BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP>>(env, exports, "bpfLookup");
  exportFunction<linkProgram<BPF_SK_LOOKUP>>(env, exports, "bpfLinkLookup");
  exportFunction<loadProgram<BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS>>(env, exports, "bpfGroupFilter");
  exportFunction<linkProgram<BPF_CGROUP_INET_INGRESS>>(env, exports, "bpfLinkGroup");
  exportFunction<filterLength>(env, exports, "filterLength");
  exports.Set("BpfRing", BpfRing::define(env));
}

}  // namespace berthd
