{
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "<!@(node -p \"process.env.BERTHD_CFLAGS ?? ''\")"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++20", "-std=gnu++17"]
  },
  "targets": [
    {
      "target_name": "berthd",
      "sources": [
        "native/addon/addon.cc",
        "native/addon/bpf.cc",
        "native/addon/close-foreign.cc",
        "native/addon/descriptor.cc",
        "native/addon/directory.cc",
        "native/addon/doorman.cc",
        "native/addon/epoll.cc",
        "native/addon/inotify.cc",
        "native/addon/message.cc",
        "native/addon/mount.cc",
        "native/addon/poll-thread.cc",
        "native/addon/poll.cc",
        "native/addon/process.cc",
        "native/addon/seccomp/bind-report.cc",
        "native/addon/seccomp/describe.cc",
        "native/addon/seccomp/epoll-report.cc",
        "native/addon/seccomp/foreseen.cc",
        "native/addon/seccomp/foresight.cc",
        "native/addon/seccomp/interceptor.cc",
        "native/addon/seccomp/listener.cc",
        "native/addon/seccomp/supervisor.cc",
        "native/addon/socket.cc",
        "native/addon/userns.cc",
        "native/addon/xattr.cc",
        "native/common/socket-calls.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"]
    },
    {
      "target_name": "berth-launch",
      "type": "executable",
      "sources": [
        "native/launch/binds/bind-fallback.cc",
        "native/launch/binds/bind-filter.cc",
        "native/launch/binds/call-filter.cc",
        "native/launch/binds/trace-binds.cc",
        "native/launch/broker.cc",
        "native/launch/carry-out.cc",
        "native/launch/end-with.cc",
        "native/launch/exec.cc",
        "native/launch/failure.cc",
        "native/launch/inherited.cc",
        "native/launch/json.cc",
        "native/launch/main.cc",
        "native/launch/output/console-keeper.cc",
        "native/launch/output/console.cc",
        "native/launch/output/log-file.cc",
        "native/launch/output/output-log.cc",
        "native/launch/output/plain-lines.cc",
        "native/launch/output/terminal.cc",
        "native/launch/patience.cc",
        "native/launch/plan.cc",
        "native/launch/privilege/file-capabilities.cc",
        "native/launch/privilege/keyring.cc",
        "native/launch/privilege/privilege.cc",
        "native/launch/root/contain.cc",
        "native/launch/root/root.cc",
        "native/launch/root/rootless-root.cc",
        "native/launch/send-fds.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-pthread", "-static-libgcc", "-Wl,--as-needed"]
    },
    {
      "target_name": "berth-guard",
      "type": "executable",
      "sources": [
        "native/common/socket-calls.cc",
        "native/guard/close-apart.cc",
        "native/guard/confine.cc",
        "native/guard/epolls.cc",
        "native/guard/keeper.cc",
        "native/guard/main.cc",
        "native/guard/sorter.cc",
        "native/guard/worker.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-static-libgcc", "-Wl,--as-needed"]
    },
    {
      "target_name": "berth-doorman",
      "type": "executable",
      "sources": ["native/doorman/main.cc"],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-static-libgcc", "-Wl,--as-needed"]
    },
    {
      "target_name": "shift-own",
      "type": "executable",
      "sources": [
        "native/shift/own.cc",
        "native/shift/owners.cc",
        "native/shift/program.cc",
        "native/shift/text.cc",
        "native/shift/tree.cc",
        "native/shift/walk.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-pthread"]
    },
    {
      "target_name": "shift-mount",
      "type": "executable",
      "sources": [
        "native/shift/mount.cc",
        "native/shift/overlay.cc",
        "native/shift/owners.cc",
        "native/shift/program.cc",
        "native/shift/text.cc",
        "native/shift/tree.cc",
        "native/shift/walk.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-pthread"]
    }
  ]
}
