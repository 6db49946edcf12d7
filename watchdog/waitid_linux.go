package watchdog

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childInfo is the part of siginfo_t that waitid fills in. The union behind
// the three leading ints is aligned to the size of a pointer.
type childInfo struct {
	signo, errno, code int32
	_                  [unsafe.Sizeof(uintptr(0))/4 - 1]int32
	pid                int32
	uid                uint32
	status             int32
	_                  [104]byte
}

// Values of si_code for SIGCHLD.
const cldExited = 1

func (i *childInfo) exit() Exit {
	if i.code == cldExited {
		return Exit{Code: int(i.status)}
	}
	return Exit{Code: -1, Signal: unix.Signal(i.status)}
}

// waitid looks for a child that has ended. Without a match (the options
// include WNOHANG) the info's pid is 0.
func waitid(idType, id, options int) (childInfo, error) {
	var info childInfo
	for {
		err := unix.Waitid(idType, id, (*unix.Siginfo)(unsafe.Pointer(&info)), options|unix.WEXITED, nil)
		if !errors.Is(err, unix.EINTR) {
			return info, err
		}
	}
}

// ended reports whether our child pid is gone or a zombie, which it leaves.
func ended(pid int) bool {
	info, err := waitid(unix.P_PID, pid, unix.WNOHANG|unix.WNOWAIT)
	return err != nil || info.pid != 0
}
