# SPDX-License-Identifier: Apache-2.0
"""The mount through the eyes of other users, of whom some are in further groups."""
import collections
import json
import os
import signal
import socket
import stat

User = collections.namedtuple("User", "pw_uid pw_gid groups")


def act_as(user):
    if user:
        os.setgroups(user.groups if isinstance(user, User) else [])
        os.setresgid(*3 * [user.pw_gid])
        os.setresuid(*3 * [user.pw_uid])


def seen_by(user, look, between=None):
    """What look() returns in a process of the user's. When it calls its argument, it waits until
    between() has been called here. No new program: the interpreter may be root's alone."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)
            os.chdir("/")
            act_as(user)
            file = theirs.makefile("rw")

            def pause():
                print("?", file=file, flush=True)
                file.readline()
            print(json.dumps(look(pause)), file=file, flush=True)
        except BaseException as error:  # to be seen there
            print(json.dumps({"failure": repr(error)}), file=file, flush=True)
        finally:
            os._exit(0)
    theirs.close()
    with ours, ours.makefile("rw") as file:
        while (line := file.readline()) == "?\n":
            between()
            print("!", file=file, flush=True)
    os.waitpid(child, 0)
    result = json.loads(line)
    if isinstance(result, dict) and "failure" in result:
        raise AssertionError(f"{user}: {result}")
    return result


def error_of(call, *arguments, **more):
    """What a call returns, or the errno with which it fails."""
    try:
        return call(*arguments, **more)
    except OSError as error:
        return error.errno


def walk(folder):
    """All that can be found below a folder, and the folder."""
    yield folder
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                yield from walk(path)
                continue
        except OSError:
            pass
        yield path


def inside(path, info):
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if stat.S_ISDIR(info.st_mode):
        return sorted(os.listdir(path))
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def look_at(path):
    seen = {"path": path}
    try:
        info = os.lstat(path)
        seen.update(uid=info.st_uid, gid=info.st_gid, mode=info.st_mode, size=info.st_size,
                    mtime=info.st_mtime_ns, nlink=info.st_nlink)
    except OSError as error:
        return {**seen, "lstat": error.errno, "open": error.errno}
    try:
        return {**seen, "lstat": 0, "open": 0, "inside": inside(path, info)}
    except OSError as error:
        return {**seen, "lstat": 0, "open": error.errno}
