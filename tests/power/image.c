/* What the image of a disk shows, for LD_PRELOAD: each file as the same inode, born at the
 * same moment, wherever it lies. So a store's file that was copied looks like the original
 * to the program, as it does where a whole disk or virtual machine was copied. */
#include <dlfcn.h>
#include <sys/stat.h>

int statx(int folder, const char *restrict path, int flags, unsigned int mask, struct statx *restrict ret)
{
    typedef int (*call)(int, const char *restrict, int, unsigned int, struct statx *restrict);
    static call next;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "statx");
    int rc = next(folder, path, flags, mask, ret);
    if (rc == 0) {
        ret->stx_mask |= STATX_BTIME;
        ret->stx_ino = 4242;
        ret->stx_btime = (struct statx_timestamp){.tv_sec = 1000000000};
    }
    return rc;
}
