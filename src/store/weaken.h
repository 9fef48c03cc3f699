/* Rules that the property tests and the simulator switch off, one at a time, to show
 * what each is for and that they see its absence. In every other build the macro is a
 * constant 0 and leaves no code behind. */
#ifndef YZMA_STORE_WEAKEN_H
#define YZMA_STORE_WEAKEN_H

enum weaken {
    WEAKEN_NOTHING,
    WEAKEN_EARLY,        /* the clock rises before the rows are applied */
    WEAKEN_ENTRY,        /* contexts are dropped entry by entry, not whole */
    WEAKEN_CLOCK,        /* merges do not ask the local clock */
    WEAKEN_FILL_STORED,  /* what a walk's source covers is stored in the context */
    WEAKEN_WALK_CLOCK,   /* a walk ends with the highest clock of its pieces, not the lowest */
    WEAKEN_ROWS,         /* a later row of a key takes the place of the earlier one */
    WEAKEN_HELD,         /* a write does not wait for what its token has seen */
    WEAKEN_ANY_KEY,      /* a write removes all that its token covers, by vector, of any key */
    WEAKEN_RETIRE_ANY,   /* a retired id's clock rises although something of it came meanwhile */
    WEAKEN_RETIRE_FLOOR, /* .. and its floor does not rise with it */
    WEAKEN_CLAIMS,       /* a new id takes back operations of the old one that others have acted on */
    WEAKEN_REPAIR_ROWS,  /* a damaged record is replaced by one that lacks operations of it */
    WEAKEN_REPAIR_FLOOR, /* .. without the floor of the peer that it came from */
    WEAKEN_WATCH_LOW,    /* a node serves a watch when its clock covers low alone */
    WEAKEN_WATCH_HIGH,   /* .. whatever its clock is */
    WEAKEN_WATCH_SHOWN,  /* high does not hold what the states shown include */
    WEAKEN_WATCH_GONE,   /* a watch goes on below the floor */
    WEAKEN_WATCH_LISTED, /* a listing does not follow the changes of keys already listed */
    WEAKEN_FLOOR,        /* rows go to who lacks what their source has forgotten */
    WEAKEN_SESSIONS,     /* a counter's chain goes on over starts */
    WEAKEN_PAST,         /* nobody hears what others know of a replica's past */
    WEAKEN_SYNC,         /* a commit does not wait for the disk */
    WEAKEN_TREE_SYNC,    /* nor does one of the tree behind the log */
};

#ifdef YZMA_WEAKEN
extern enum weaken weakened;
#define WEAKENED(rule) (weakened == WEAKEN_##rule)
#else
#define WEAKENED(rule) 0
#endif

#endif
