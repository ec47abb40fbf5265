"""Becomes another program that ends when its starter ends, even if that one was killed.

Run as a plain script, before anything of the product is imported:
`python -I -S lifeline.py SIGNAL STARTER_PID UID:GID|- COMMAND…`. The kernel's promise (prctl PR_SET_PDEATHSIG) holds
across exec, but not across a change of user, so the user is changed here, first.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    number, starter, account, *command = sys.argv[1:]
    if account != "-":
        user, group = (int(part) for part in account.split(":"))
        os.chdir("/")  # the folder we were started in may be closed to that user
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != int(starter):
        sys.exit("the launcher ended before this process began")
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
