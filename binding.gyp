{
  "target_defaults": {
    "cflags": ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fvisibility=hidden"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++20", "-std=gnu++17"]
  },
  "targets": [
    {
      "target_name": "berthd",
      "sources": [
        "native/addon.cc",
        "native/bind-report.cc",
        "native/descriptor.cc",
        "native/directory.cc",
        "native/discard.cc",
        "native/inotify.cc",
        "native/message.cc",
        "native/mount.cc",
        "native/poll.cc",
        "native/process.cc",
        "native/seccomp.cc",
        "native/seccomp-listener.cc",
        "native/seccomp-supervisor.cc",
        "native/socket.cc",
        "native/userns.cc",
        "native/xattr.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"]
    },
    {
      "target_name": "berth-launch",
      "type": "executable",
      "sources": [
        "native/launch.cc",
        "native/launch-apply.cc",
        "native/launch-broker.cc",
        "native/launch-contain.cc",
        "native/launch-exec.cc",
        "native/launch-filter.cc",
        "native/launch-json.cc",
        "native/launch-keep.cc",
        "native/launch-make.cc",
        "native/launch-plan.cc",
        "native/launch-privilege.cc",
        "native/launch-root.cc",
        "native/launch-send.cc",
        "native/launch-trace.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-static-libgcc", "-Wl,--as-needed"]
    },
    {
      "target_name": "shift-own",
      "type": "executable",
      "sources": [
        "native/shift-own.cc",
        "native/shift-owners.cc",
        "native/shift-program.cc",
        "native/shift-text.cc",
        "native/shift-tree.cc",
        "native/shift-walk.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-pthread"]
    },
    {
      "target_name": "shift-mount",
      "type": "executable",
      "sources": [
        "native/shift-mount.cc",
        "native/shift-overlay.cc",
        "native/shift-owners.cc",
        "native/shift-program.cc",
        "native/shift-text.cc",
        "native/shift-tree.cc",
        "native/shift-walk.cc"
      ],
      "defines": ["BERTHD_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
      "ldflags": ["-pthread"]
    }
  ]
}
