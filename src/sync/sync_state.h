/* The inside of sync, shared by its files: no one else includes it. */
#ifndef YZMA_SYNC_STATE_H
#define YZMA_SYNC_STATE_H

#include "answers.h"
#include "cache.h"
#include "chunk.h"
#include "history.h"
#include "link.h"
#include "pace.h"
#include "peers.h"
#include "sync.h"
#include "twin.h"

enum {
    DIAL_DELAY_MIN_MS = 100, /* doubles up to the maximum, plus up to a half at random */
    DIAL_DELAY_MAX_MS = 10000,
    HELLO_TIMEOUT_MS = 5000,
    HEARTBEAT_MS = 5000,      /* of silence: then an empty frame */
    SILENCE_MAX_MS = 15000,   /* then the link is dropped and made again */
    REPORT_MS = 100,          /* at most so often is a changed clock reported */
    RELAY_PATIENCE_MS = 2000, /* without a byte of a replica's rows: ask another peer */
    RELAY_AVOID_MS = 10000,   /* a relay that did not deliver is not asked again for so long */
    WALK_PATIENCE_MS = 3000,  /* without progress: peers that could send a delta do not */
    WALK_SOURCE_PATIENCE_MS =
        5000,                /* for a source that has seen what the walk has seen, before it starts over */
    WALK_ANSWER_MS = 30000,  /* for a piece, without a byte from its source: then another is asked */
    HELD_RETRY_MS = 300000,  /* rows behind one in quarantine: asked for again so often */
    SPACE_MS = 1000,         /* how often the room left is looked at while something is written */
    REPLICAS_WARN = 256,     /* ids in the clock: told at each further so many */
    RETRY_MS = 1000,         /* after the store refused for want of room or time */
    HOLD_MAX_MS = 5000,      /* .. doubling up to this */
    SHUN_MS = 10000,         /* no link with a peer that sent a malformed frame: it would send it again */
    DAMAGE_RETRY_MS = 30000, /* after damage here or at the source: nothing heals it by itself quickly */
    AHEAD_MS = 5000,         /* rows above the own clock that stay so long are offered */
    PEER_NOTE_MS = 60000,    /* clocks and times of peers are kept at this rate */
    REPAIR_RETRY_MS = 1000,  /* doubles up to sixteen times as much */
    REPAIR_ANSWER_MS = 10000,
    REPAIR_SETTLE_MS = 60000, /* then operations that nobody claims are given up */
    SEARCH_PIECE_MS = 100,    /* between two pieces: some 40,000 records or 40 MiB a second */
    SEARCH_STAND_MS = 1000,   /* where it can go no further now */
    SEARCH_REST_MS = 10000,   /* between two searches, at least */
    DIGEST_PIECE_MS = 5000,   /* between two pieces that are equal */
    DIGEST_REST_MS = 60000,   /* between two passes */
    DIGEST_ANSWER_MS = 10000,
    DIGEST_BUSY_MAX = 12,   /* so often a piece is put off before the pass ends */
    DIGEST_MENDS_MAX = 256, /* at the committer */
    DIGEST_RECORDS = 4096,  /* of a piece: some 5 ms of reading */
    DIGEST_BYTES = 4 << 20,
    THINK_MS = 250, /* how often relays and walks are thought about while something is lacking */

    SEND_QUEUE_HIGH = 4 << 20, /* bytes a link may have queued before it is fed no more */
    SEND_QUEUE_LOW = 1 << 20,
    /* Of rows, when so many are missing. The receiver stores them in slices; but it unpacks and
     * reads a chunk, and a walk's piece, in one go: about a millisecond. */
    CHUNK_ENTRIES = 2048,
    CHUNK_BYTES = 1 << 20,
    PIECE_ENTRIES = 1250, /* of a walk */
    PIECE_BYTES = 1 << 20,
    OLD_CHUNK_ENTRIES = 2000, /* for protocol 1, which stores a frame as it comes */
    OLD_CHUNK_BYTES = 1 << 20,
    WALK_EXPECTED_MS = 1000,      /* rows are kept from a blank peer so long: it is about to walk */
    BETTER_LINK_MS = 200,         /* and from a link that the other one of the pair would replace */
    WALK_AHEAD = 16,              /* pieces asked for and not stored yet */
    SQUEEZE_WALK_MIN = 1024,      /* smaller frames are not packed */
    SQUEEZE_DELTA_MIN = 32 << 10, /* nor what a group of writes makes: it would wait for it */
    LIVE_ENTRIES_MAX = 256,       /* rows in a frame that are no bulk: a moment's writes */
    LIVE_BYTES_MAX = 256 << 10,
    INTAKE_FRAMES_MAX = 64, /* received and not stored, per link; then we read no more */
    INTAKE_BYTES_MAX = 20 << 20,
    LINKS_MAX = 2 * PEERS_MAX, /* connections at once, those without hello included */
    LINKS_UNKNOWN_MAX = 64,    /* of them, those accepted that have not said hello */
    EVENTS_MAX = 1024,         /* for the node; the oldest go (a readdress is found out again) */
    WALK_WORTH = 10000,        /* operations a store without any foreign ones may lack before a walk is
                                  the cheaper way to be filled */
};

/* What we know of one replica's rows: whether they come. */
struct origin {
    struct replica_id id;
    uint64_t lacking_since_ms; /* 0: nothing lacking */
    uint64_t moved_ms;         /* when rows of it last came, or a relay was asked */
    bool held;                 /* its next row is in quarantine here */
    uint64_t held_until_ms;    /* .. and not asked for again before */
    bool relayed;
    struct replica_id relay, avoid; /* the peer that was asked; the one that did not deliver */
    uint64_t avoid_until_ms;
    unsigned vain;         /* it was asked itself so often since .. */
    uint64_t itself_at_ms; /* .. and is not again before */
    uint64_t retry_at_ms;  /* ask the link `retry_peer` again from our clock; 0: no */
    struct replica_id retry_peer;
};

/* How fast the walk goes (progress.c). Of this process: a restart counts anew. */
struct progress {
    bool on;
    uint64_t started_ms, told_ms;
    uint64_t bytes, wire, rows; /* received: bodies, on the wire, and rows of the second phase */
    uint64_t keys;              /* done, in all */
    struct {
        uint64_t at_ms, keys, bytes;
    } mark[2]; /* older, newer: rates are of the time since the older one */
};

/* repair.c: a damaged record that is to be fetched. */
struct repair {
    struct damaged_key key;
    bool seen;         /* in the store's list, at this look */
    uint64_t since_ms; /* later by as long as nobody was there to be asked */
    uint64_t retry_ms;
    unsigned tries;
    size_t turn;       /* which link is asked next */
    bool told;         /* whom it waits for */
    bool past_mending; /* all were asked, and nobody else may have it */
};
struct repairs {
    struct repair *list; /* owned; DAMAGED_KEYS_MAX, made when first needed */
    size_t count;
    bool busy;                  /* a round of questions about `current` is on: asked at `stream` */
    bool storing;               /* .. and what was answered is at the committer */
    struct damaged_key current; /* while busy */
    uint64_t stream, asked_ms;
    uint64_t round;         /* its number; from 1 on */
    size_t first_pass;      /* how much who is asked has to have (choose) */
    bool settle;            /* all are asked, and what nobody has is given up */
    bool untried;           /* somebody's record is damaged, too, which the committer was not told */
    struct answers answers; /* so far; of one key only, ever */
};

/* search.c: through all records for damaged ones. */
struct searching {
    bool wanted, on;
    bool ended; /* all were looked at */
    uint64_t at_ms, began_ms;
    uint64_t walk; /* serial of our walk that one was for */
    uint8_t after[KEY_MAX];
    size_t after_len;
};

/* digest.c: a pass through the keys with one peer. */
enum { DIGEST_LEVELS = 3 };
struct digest_piece {
    uint8_t through[KEY_MAX];
    size_t len;
    bool end; /* to the last key of all */
};
struct digesting {
    bool on, waiting;
    uint64_t stream, run, asked_ms, at_ms;
    uint64_t clock_hash, wall_ms; /* of the question */
    unsigned level, busy;
    uint8_t after[KEY_MAX]; /* all up to here was compared */
    size_t after_len;
    struct digest_piece pieces[DIGEST_LEVELS]; /* of each level: what was asked last */
    size_t turn;                               /* which link is next */
    unsigned mends;                            /* at the committer */
};

/* send.c: a look at which rows there are above the own clock. */
struct ahead {
    struct dot after;        /* up to here it has come */
    uint64_t digest, before; /* of these; of all, the last time */
    uint64_t stays;          /* of those that were the same twice; 0: there are none, or others */
};

enum pending_kind {
    PENDING_ROWS,
    PENDING_WALK,
    PENDING_NOTES,
    PENDING_PRUNE,
    PENDING_REIDENTIFY,
    PENDING_EXPIRE,
    PENDING_RETIRE,
    PENDING_QUARANTINE,
    PENDING_REPAIR,
    PENDING_MEND,
    PENDING_START
};

/* Work at the committer. */
struct pending {
    uint64_t ticket, stream; /* stream of the link it came by, 0 for none */
    enum pending_kind kind;
    struct replica_id origin; /* PENDING_ROWS */
    struct replica_id peer;
    /* of what went through intake.c: */
    bool taken, bulk, final; /* final: the last slice of its frame */
    size_t entries;
    uint64_t given_ms;
    uint64_t run; /* of a walk */
};

struct sync_count {
    uint64_t frames_malformed, frames_checksum, frames_oversized, links_refused, links_lost, hellos_late;
    uint64_t rows_received, rows_sent, rows_skipped, ahead_received, chunks_damaged, pieces_received,
        pieces_sent;
    uint64_t walks_started, walks_finished, walks_restarted, relays_asked, floor_held, store_refused,
        notes_damaged;
    uint64_t reidentified, forks_met, pasts_heard, pasts_differ, hellos_overtaken, links_over_limit;
    uint64_t expiries_withheld, replicas_retired, quarantine_full, low_space, twins_met;
    uint64_t records_asked, records_repaired, operations_lost, rows_given_up, damage_searches;
    uint64_t digests_asked, digests_equal, digest_passes, divergence, divergence_mended;
    uint64_t frames_packed, frames_dull, frames_unpacked, frames_unpackable, slices;
    struct traffic_count in, out;
};

struct sync {
    struct sync_config config;
    char name[MEMBER_NAME_MAX + 1], label[MEMBER_NAME_MAX + 1], ingress[INGRESS_MAX + 1];
    struct store *store;
    struct rng rng;
    struct replica_id id;
    struct starts starts;
    struct replica_id predecessors[PREDECESSORS_MAX];
    size_t predecessor_count;
    struct clock clock, floor; /* durable here, as of the last look */
    struct walk_state walk;    /* of us as receiver */
    bool left;                 /* for good; until the start of a return is stored */
    bool returning, starting;  /* leave.c: it is to be stored; it is at the committer */
    uint64_t return_at_ms;     /* .. tried again */
    enum err return_waits_for; /* .. and was said; OK: nothing was */
    bool stopping;
    bool reidentifying;
    uint64_t twin_at_ms;     /* no other one is met before */
    struct twin twin;        /* what other nodes under our id have shown, and others have of it */
    uint64_t known_kept;     /* of that, twin.known as it is in the store */
    bool held_by_hand;       /* manual.c: what came in waits */
    bool expiring;           /* expire.c */
    struct retired *retired; /* retire.c */
    size_t retired_count;
    bool retiring;
    uint64_t retire_at_ms;
    size_t replicas_told;   /* of so many in the clock the log has told */
    bool low_space;         /* has been told */
    bool space_changed;     /* something was committed since the last look */
    uint64_t space_at_ms;   /* no look before */
    bool quarantine_looked; /* what is in there was tried again since the start */
    uint64_t started_ms;

    struct peers peers;
    uint64_t reports; /* of their clocks, and news about who is expected: counts up */
    struct link **links;
    size_t link_count, link_room;
    struct origin *origins;
    size_t origin_count, origin_room;
    struct pending *pending;
    size_t pending_count, pending_room;
    struct sync_event *events; /* a queue of event_count from the front */
    size_t event_count, event_room;

    struct squeeze *squeeze;
    struct frame_cache cache;
    struct pace pace; /* intake.c */
    size_t intake_turn;
    size_t past_turn; /* past.c: which link is told again */

    /* fill.c */
    uint64_t walk_run;       /* the question that is being answered; 0: none is */
    uint64_t walk_last_run;  /* runs count up */
    uint64_t walk_ahead;     /* pieces asked for that have not come */
    bool walk_refused;       /* the source has ended the run: what came of it before is stored */
    uint64_t walk_heard_ms;  /* when the question was put, or the last piece came */
    uint64_t walk_stream;    /* the link it was asked of */
    uint64_t walk_source_ms; /* since when no source will do; 0: there is one */
    unsigned walk_works;     /* of the walk at the committer */
    uint64_t walk_retry_ms;  /* after the store refused: no question before */
    unsigned walk_refusals;  /* in a row */
    bool walk_open;          /* has begun and its end has not been told (the store may be looked at before) */
    uint64_t walk_keys_total;
    struct progress progress;
    uint64_t lacking_ms;  /* since when some link has what we lack; 0: nothing */
    uint64_t progress_ms; /* when our clock last rose by a peer's rows */

    struct repairs repairs;
    struct searching searching;
    struct digesting digesting;
    struct history history; /* forget.c */
    bool pruning;
    bool rows_below_floor; /* perhaps: a walk raises the floor faster than it removes rows */
    uint64_t prune_at_ms, ahead_at_ms, notes_at_ms, think_at_ms, alone_since_ms;
    struct ahead ahead;
    struct sync_count count;
};

/* sync.c */
uint64_t sync_submit(struct sync *s, struct store_work *work, struct pending pending, struct effects *out);
void sync_push_event(struct sync *s, const struct sync_event *event);
bool sync_is_own_id(const struct sync *s, const struct replica_id *id); /* present or former */
enum err sync_read_identity(struct sync *s);
enum err sync_look(struct sync *s); /* reads clock, floor and walk from the store */
struct peer *sync_peer(struct sync *s, struct sync_time time, const struct replica_id *id,
                       struct effects *out);
uint64_t sync_save_peer(struct sync *s, const struct peer *peer, struct effects *out);
/* Completes the work, with a new id and what peers have told, and submits it. */
void sync_reidentify(struct sync *s, struct store_work *work, struct effects *out);
void twin_met(struct sync *s, const struct hello *hello, struct effects *out);
void twin_keep_known(struct sync *s, struct effects *out);

/* Reads on where it had paused and there is room again. False when the link is gone. */
bool sync_read_on(struct sync *s, struct sync_time time, struct link *link, struct effects *out);

/* link.c: the table of links */
struct link *sync_link_new(struct sync *s, uint64_t stream, bool dialed, uint64_t now_ms);
struct link *sync_link_find(const struct sync *s, uint64_t stream);
/* Ends it from our side: takes it off its peer, asks the world to close the
 * stream, frees it. `why` is kept as the peer's error unless NULL. */
void sync_link_end(struct sync *s, struct sync_time time, struct link *link, const char *why,
                   struct effects *out);
/* Forgets it: the world has closed the stream. */
void sync_link_lost(struct sync *s, struct sync_time time, struct link *link, const char *why,
                    struct effects *out);
void sync_link_send(struct sync *s, struct link *link, uint64_t now_ms, struct buf *frame,
                    struct effects *out);
/* The same for rows and pieces: packed, where that is worth it. */
void sync_link_send_bulk(struct sync *s, struct link *link, uint64_t now_ms, enum traffic traffic,
                         struct buf *frame, struct effects *out);
void sync_link_send_cached(struct sync *s, struct link *link, uint64_t now_ms, struct cached *cached,
                           struct effects *out);

/* greet.c: dialling, hellos, refusals */
void greet_dial_due(struct sync *s, struct sync_time time, struct effects *out);
void greet_opened(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
/* These return false when the link is gone. */
bool greet_hello(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                 struct effects *out);
bool greet_refused(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                   struct effects *out);
void greet_backoff(struct sync *s, struct peer *peer, uint64_t now_ms);
/* Ends the link of a peer that told so much, where another past of it is known since. */
void greet_refuse_past(struct sync *s, struct sync_time time, struct peer *peer, uint64_t told,
                       struct effects *out);
uint64_t greet_deadline(const struct sync *s);

/* send.c */
void send_pump(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
void send_pump_all(struct sync *s, struct sync_time time, struct effects *out);
/* When send_report has something to do at the latest. */
uint64_t send_report_deadline(const struct sync *s, const struct link *link);
void send_report(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
void send_ahead(struct sync *s, struct sync_time time, struct effects *out);
void send_want(struct sync *s, struct sync_time time, struct link *link, const struct replica_id *origin,
               struct effects *out);

/* receive.c */
bool receive_frame(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                   size_t wire, struct effects *out);
enum traffic receive_traffic_of(enum frame_type type);
/* Reads on, unless there is still a reason not to. */
bool receive_resume(struct sync_time time, struct link *link, struct effects *out);
void receive_pause_if_full(struct link *link, struct effects *out);

/* intake.c: what came in waits here for its turn at the committer */
/* run: of a walk's piece; 0 for rows. */
void intake_take(struct link *link, struct store_work *work, uint64_t run);
void intake_pump(struct sync *s, struct sync_time time, struct effects *out);
void intake_stored(struct sync *s, struct sync_time time, const struct pending *pending);
void intake_drop_rows(struct link *link, const struct replica_id *origin); /* that still wait */
void intake_drop_walk(struct link *link);
void intake_clear(struct link *link);
bool intake_is_full(const struct link *link);
bool intake_has_room(const struct link *link);
uint64_t intake_deadline(const struct sync *s, uint64_t now_ms);
void receive_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                    const struct store_work *work, struct effects *out);

/* relay.c */
struct origin *relay_origin(struct sync *s, const struct replica_id *id); /* finds or adds */
void relay_moved(struct sync *s, const struct replica_id *id, uint64_t now_ms);
void relay_think(struct sync *s, struct sync_time time, struct effects *out);
void relay_retry(struct sync *s, const struct replica_id *origin, const struct replica_id *peer,
                 uint64_t at_ms);
/* Rows came that do not follow on what we have: those between are soon asked for. */
void relay_gap(struct sync *s, const struct replica_id *origin, const struct replica_id *peer,
               uint64_t now_ms);
/* What the store made of rows of this replica: does one in quarantine hold its clock? */
void relay_held(struct sync *s, struct sync_time time, const struct replica_id *origin, bool held,
                const struct link *link, struct effects *out);
void relay_released(struct sync *s, struct effects *out); /* the quarantine was tried again */
void relay_link_up(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
/* True when a peer's clock names something above ours. */
bool relay_lacking(const struct sync *s);

/* past.c: what a replica has shown of itself, told to others */
/* Must others be asked first before what this one has is taken? */
bool past_is_asked_for(const struct peer *peer, const struct hello *hello);
void past_ask(struct peer *peer, uint64_t now_ms); /* if so: a link of it has come up */
void past_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
void past_tell_of(struct sync *s, struct sync_time time, const struct peer *peer, struct effects *out);
/* False: malformed. May end links of other peers. */
bool past_take(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
               struct effects *out);
/* All of it to one link, and at the next call to the next. */
void past_tell_again(struct sync *s, struct sync_time time, struct effects *out);
/* Ends the wait of those that are proven, or that nobody in reach knows more of. */
void past_tick(struct sync *s, struct sync_time time, struct effects *out);
uint64_t past_deadline(const struct sync *s, uint64_t now_ms);

/* leave.c */
bool leave_take(struct sync *s, struct sync_time time, struct link *link, struct effects *out); /* false */
void leave_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out);
void leave_tick(struct sync *s, struct sync_time time, struct effects *out);
uint64_t leave_deadline(const struct sync *s);

/* fill.c: being filled */
/* Will this peer rather walk than take our rows? */
bool fill_is_expected(const struct sync *s, const struct peer *peer);
void fill_think(struct sync *s, struct sync_time time, struct effects *out);
/* False when the frame is malformed. */
bool fill_piece(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                size_t wire);
void fill_refused(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out);
void fill_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                 const struct store_work *work, struct effects *out);
/* Breaks our walk off for good. */
void fill_stop(struct sync *s, struct effects *out);
void fill_link_gone(struct sync *s, uint64_t stream, uint64_t now_ms);

/* serve.c: filling others */
void serve_ask(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
               struct effects *out);
void serve_more(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                struct effects *out);
void serve_pump(struct sync *s, struct sync_time time, struct link *link, struct effects *out);

/* repair.c: damaged records */
struct record_frame;
void repair_met_somebody(struct sync *s, uint64_t now_ms);
void repair_tick(struct sync *s, struct sync_time time, struct effects *out);
uint64_t repair_deadline(const struct sync *s);
void repairs_done(struct repairs *repairs);
/* These return false when the frame is malformed. */
bool repair_asked(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out);
bool repair_answered(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                     struct effects *out);
void repair_stored(struct sync *s, struct sync_time time, const struct pending *pending,
                   const struct store_work *work, struct effects *out);
/* Our record of a key as RECORD or DIVERGED; false when it was not sent. */
bool repair_send_record(struct sync *s, struct sync_time time, struct link *link, enum frame_type type,
                        bool answer, struct bytes key, struct effects *out);
/* Takes the frame's clocks; NULL without memory. */
struct store_work *repair_work_of(enum work_kind kind, struct record_frame *record);

/* search.c: looking for damaged records */
void search_want(struct sync *s);
void search_for_walk(struct sync *s); /* once for each of our walks */
void search_tick(struct sync *s, uint64_t now_ms);
uint64_t search_deadline(const struct sync *s);

/* digest.c: comparing what nodes with equal clocks hold */
void digest_tick(struct sync *s, struct sync_time time, struct effects *out);
uint64_t digest_deadline(const struct sync *s);
/* These return false when the frame is malformed. */
bool digest_asked(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                  struct effects *out);
bool digest_answered(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                     struct effects *out);
bool digest_diverged(struct sync *s, struct sync_time time, struct link *link, const struct frame *frame,
                     struct effects *out);
void digest_stored(struct sync *s, const struct pending *pending, const struct store_work *work,
                   struct effects *out);

/* progress.c */
void progress_start(struct sync *s, uint64_t now_ms);
void progress_piece(struct sync *s, uint64_t now_ms, const struct store_work *work, uint64_t wire);
void progress_tell(struct sync *s, uint64_t now_ms, struct effects *out); /* when it is time */
void progress_end(struct sync *s, uint64_t now_ms, const char *event, struct effects *out);
struct rates {
    uint64_t keys_per_s, bytes_per_s, percent;
};
struct rates progress_rates(const struct sync *s, uint64_t now_ms);
/* Lines in the log when one side of a link has what it lacked at its beginning. */
void progress_link_up(struct sync *s, struct link *link);
void progress_look_at(struct sync *s, uint64_t now_ms, struct link *link, struct effects *out);
/* How many operations `behind` lacks. */
uint64_t progress_lag(const struct clock *ahead, const struct clock *behind);

/* retire.c */
#define RETIRED_NOTE "retired/"
void retire_read_note(struct sync *s, struct bytes value);
struct retired *retire_find(const struct sync *s, const struct replica_id *id);
void retire_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
void retire_done(struct sync *s);
/* What the store itself must know, should it return. */
void retire_refusal(struct sync *s, struct sync_time time, struct retired *retired, struct refusal *ret,
                    struct effects *out);
/* False: malformed. *ret_gone: the link is. */
bool retire_take(struct sync *s, struct sync_time time, struct link *link, struct bytes body, bool *ret_gone,
                 struct effects *out);
void retire_tick(struct sync *s, struct sync_time time, struct effects *out);
void retire_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out);
/* The peer's floor is above our clock for ids only that are retired, and ours will follow. */
bool retire_explains(const struct sync *s, const struct link *link, uint64_t now_ms);
struct json_out;
void retire_report(const struct sync *s, struct sync_time time, struct json_out *out);

/* expire.c */
void expire_tell(struct sync *s, struct sync_time time, struct link *link, struct effects *out);
bool expire_take_time(struct sync *s, struct sync_time time, struct link *link, struct bytes body,
                      struct effects *out);
/* How far the median of the peers' wall clocks is ahead of ours; false: nobody has told. */
bool expire_skew(const struct sync *s, struct sync_time time, int64_t *ret_ms);
bool expire_may_drop(const struct sync *s, struct sync_time time);
void expire_look(struct sync *s, struct sync_time time, struct effects *out);
void expire_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out);

/* manual.c */
#define PAUSED_NOTE "sync/paused"
bool manual_take_forget(struct sync *s, struct sync_time time, const struct link *link, struct bytes body,
                        struct effects *out);

/* forget.c */
void forget_look_at_space(struct sync *s, struct sync_time time, struct effects *out);
/* A row that cannot be read is given up: the floor rises to it. */
void forget_row(struct sync *s, const struct dot *dot, struct effects *out);
void forget_tick(struct sync *s, struct sync_time time, struct effects *out);
void forget_stored(struct sync *s, struct sync_time time, const struct store_work *work, struct effects *out);

/* And is not on its way back. */
static inline bool sync_has_left(const struct sync *s)
{
    return s->left && !s->returning;
}

static inline bool sync_walking(const struct sync *s)
{
    return s->walk.phase != WALK_NONE;
}

#endif
