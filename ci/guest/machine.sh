# The virtual machine of a guest. Sourced by ci/soft-roce, which sets the options and `image`.

# KVM only where it really works: some clouds show a /dev/kvm with which an ordinary kernel never boots.
# Where the processor's own module is loaded it is the processor that does the work.
emulated() {
  $emulate || [[ ! -w /dev/kvm || ! (-d /sys/module/kvm_intel || -d /sys/module/kvm_amd) ]]
}

# How many processors, where nothing was asked for. Emulated kernels after 6.1 get one: of 20 boots of
# Debian 13's 6.12 with two, one ended in a panic; with one, none.
processors() {
  if [[ -n $cpus ]]; then
    echo "$cpus"
  elif emulated && [[ $(cat "$image/version") != 6.1.* ]]; then
    echo 1
  else
    echo 2
  fi
}

# start_machine HOST: boots guest number HOST in the background. Its process is in machines[HOST], what its
# kernel prints in $work/console.HOST; $work/control.HOST is the folder that both sides see.
start_machine() {
  local host=$1 control=$work/control.$1 arguments folder number=0
  mkdir "$control"
  start_script "$host" >"$control/start"
  export -p >"$control/environment"
  mkfifo "$work/out.$host" "$work/err.$host"
  pass_on "$host"

  arguments=(
    -nodefaults -no-user-config -display none -no-reboot
    -machine q35,usb=off,vmport=off,smbus=off,sata=off
    -smp "$(processors)" -m "$memory_mib" -nic none
    -kernel "$image/kernel" -initrd "$image/initramfs"
    -append "$(kernel_options | xargs)"
    -serial "file:console.$host"
    -device virtio-rng-pci -device virtio-serial-pci
    -chardev "file,id=out,path=out.$host" -device virtserialport,chardev=out,name=out
    -chardev "file,id=err,path=err.$host" -device virtserialport,chardev=err,name=err
  )
  if emulated; then
    arguments+=(-accel "tcg,thread=multi,tb-size=512" -cpu Nehalem)  # newer models are emulated slower
  else
    arguments+=(-accel kvm -cpu host)
  fi
  share files / ,readonly=on,multidevs=remap
  share control "control.$host"
  if ((hosts == 2)); then
    share shared shared
    arguments+=(
      -netdev "dgram,id=net,local.type=unix,local.path=net.$host,remote.type=unix,remote.path=net.$((3 - host))"
      -device "virtio-net-pci,netdev=net,mac=52:54:00:12:00:0$host"
    )
  fi
  for folder in "${writable[@]}"; do share "writable$((number++))" "$folder"; done

  # From $work, because paths of sockets must be short.
  (cd "$work" && exec timeout --kill-after=5 "$timeout_s" qemu-system-x86_64 "${arguments[@]}") \
    </dev/null 2>"$work/qemu.$host" &
  machines[host]=$!
}

# share NAME FOLDER [OPTIONS]: adds to `arguments` a folder that the guest can mount by its name.
share() {
  arguments+=(
    -fsdev "local,id=$1,path=${2//,/,,},security_model=none${3:-}"
    -device "virtio-9p-pci,fsdev=$1,mount_tag=$1"
  )
}

# Without what only slows an emulated processor down. A panic ends the machine. Not tsc=reliable: on a busy host
# an emulated kernel may measure its processor's clock wrongly, by factors. Then it sees that by HPET's and turns
# to that one, which takes 4 us to read instead of 0.15. On a busy host an emulated timer's interrupts may also come
# too late for the kernel's check of them, which panics: no_timer_check.
kernel_options() {
  echo "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr random.trust_cpu=on" \
    "cryptomgr.notests no_timer_check"
}

# What the guest's first bash reads: the variables of ci/guest/run, and where that is.
start_script() {
  local host=$1 of_guest=("${command[@]}")
  ((host == 1)) || of_guest=(${second:+bash -c "$second"})
  printf '%s=%q\n' host "$host" hosts "$hosts" folder "$PWD" root "$root" counters "$counters" \
    huge_pages "$huge_pages" loss_percent "$loss_percent" delay_ms "$delay_ms"
  printf 'command=(%s)\n' "${of_guest[*]@Q}"
  printf 'writable=(%s)\n' "${writable[*]@Q}"
  # shellcheck disable=SC2016
  echo 'source "$root/ci/guest/run"'
}

# What guest 1 prints is printed; all of guest 2 goes to standard error.
pass_on() {
  local host=$1
  cat "$work/err.$host" >&2 &
  readers+=($!)
  if ((host == 1)); then
    cat "$work/out.$host" &
  else
    cat "$work/out.$host" >&2 &
  fi
  readers+=($!)
}

# await_machine HOST: returns the status that the guest left, 124 when the time was over, else 125.
await_machine() {
  local host=$1 ended=0 status
  wait "${machines[host]}" || ended=$?
  unset "machines[$host]"
  # Ends a reader that still waits for a machine which never came up.
  : <>"$work/out.$host" <>"$work/err.$host"
  if read -r status 2>/dev/null <"$work/control.$host/status"; then
    return "$status"
  fi
  if ((ended == 124 || ended == 137)); then
    note "the time limit of $timeout_s s is over"
    return 124
  fi
  note "guest $host ended without a result (qemu: status $ended)"
  tail -n 20 "$work/qemu.$host" "$work/console.$host" >&2
  return 125
}

run_in_guest() {
  local status=0 status_of_second=0 host
  command -v qemu-system-x86_64 >/dev/null ||
    die "there is no qemu-system-x86_64 for a virtual machine (apt-get install qemu-system-x86)"
  prepare_image
  note "boots ${hosts/#1/a} virtual machine$( ((hosts == 1)) || echo s)$(! emulated || echo ", emulated")"
  ((hosts == 1)) || mkdir "$work/shared"
  for ((host = 1; host <= hosts; host++)); do start_machine "$host"; done
  await_machine 1 || status=$?
  if ((hosts == 2)); then
    # The guest ends it when guest 1's command is over; if guest 1 broke, nobody tells it.
    ((status < 124 || status > 125)) || stop_machines
    await_machine 2 || status_of_second=$?
    ((status_of_second == 0)) || note "the second command's status is $status_of_second"
  fi
  wait "${readers[@]}"
  ((status != 0)) || status=$status_of_second
  return "$status"
}

stop_machines() {
  [[ ${#machines[@]} -eq 0 ]] || kill "${machines[@]}" 2>/dev/null || true
}
