/* The commands and the options: everything that help, man page, completion and parser
 * know of them. */
#include "cli.h"

#define BIT(option) (UINT64_C(1) << OPT_##option)
#define NODE        (BIT(SERVER) | BIT(API) | BIT(CONFIG))
#define WRITE       (BIT(W) | BIT(WAIT))
#define RANGE       (BIT(AFTER) | BIT(END) | BIT(LIMIT) | BIT(REVERSE) | BIT(DELIMITER))

const char *const cli_group_names[CLI_GROUPS] = {
    [GROUP_NODE] = "A node",  [GROUP_DATA] = "Data",   [GROUP_CLUSTER] = "The cluster",
    [GROUP_STORE] = "Stores", [GROUP_OTHER] = "Other",
};

const struct cli_option_spec cli_options[CLI_OPTIONS] = {
    [OPT_CONFIG] = {'c', "config", "FILE",
                    "the configuration; without it the first of ./yzma.json, ~/.yzma/yzma.json, "
                    "/etc/yzma/yzma.json, or the defaults",
                    CLI_PATH},
    [OPT_JOIN] = {'j', "join", "HOST[:PORT]",
                  "join the cluster of the node that gossips there (7946); tried until it is reached; may be "
                  "given several times",
                  CLI_TEXT, true},
    [OPT_SERVER] = {'s', "server", "HOST:PORT",
                    "the API of the node to ask; several, with commas or repeated: the next one where one "
                    "does not answer",
                    CLI_SERVERS, true},
    [OPT_API] = {'a', "api", "HOST:PORT", "the same as --server", CLI_SERVERS, true},
    [OPT_JSON] = {0, "json", NULL, "print JSON, a line each", CLI_FLAG},
    [OPT_RAW] = {0, "raw", NULL, "print the value's bytes and nothing else", CLI_FLAG},
    [OPT_SIBLINGS] = {0, "siblings", NULL, "all versions, and not only the one that is read", CLI_FLAG},
    [OPT_CONTEXTS] = {0, "contexts", NULL,
                      "with each key's context: what is then imported replaces that state, and nothing newer",
                      CLI_FLAG},
    [OPT_CONTEXT] = {0, "context", NULL, "print the context in place of the value", CLI_FLAG},
    [OPT_WITH] = {0, "with", "CONTEXT", "read no older state than this context, or replace what it has seen",
                  CLI_TEXT},
    [OPT_TYPE] = {0, "type", "TYPE", "the value is of this media type, such as text/plain, and no JSON",
                  CLI_TEXT},
    [OPT_FILE] = {0, "file", "FILE", "the value is what this file has", CLI_PATH},
    [OPT_TTL] = {0, "ttl", "DURATION", "the value ends so long from now: 90s, 12h, 30d", CLI_DURATION},
    [OPT_EXPIRES] = {0, "expires", "MOMENT", "the value ends then: 2027-01-31T12:00:00Z", CLI_TEXT},
    [OPT_TOUCH] = {0, "touch", NULL, "give the value that is there another end", CLI_FLAG},
    [OPT_IF_MATCH] = {0, "if-match", "TAG", "only while the key has this ETag (of get --json), or * for any",
                      CLI_TEXT},
    [OPT_IF_NONE_MATCH] = {0, "if-none-match", "TAG",
                           "only while it has another one; * for: only if there is none", CLI_TEXT},
    [OPT_ADD] = {0, "add", NULL, "let it stand beside the versions that are there", CLI_FLAG},
    [OPT_W] = {'w', "w", "N", "wait until N replicas have it on disk: a number, majority or all", CLI_TEXT},
    [OPT_WAIT] = {0, "wait", "DURATION", "how long to wait, for --w and for a context (1s)", CLI_DURATION},
    [OPT_COUNTER] = {0, "counter", NULL, "KEY is that of a counter", CLI_FLAG},
    [OPT_SPACE] =
        {0, "space", "SPACE",
         "of which name space: keys, which it is without, counters, sets, or all of them (export, watch)",
         CLI_CHOICE, .choices = "keys counters sets all"},
    [OPT_TEXT] = {0, "text", NULL, "elements are texts as they stand, and no JSON", CLI_FLAG},
    [OPT_PREFIX] = {0, "prefix", "PREFIX", "all keys that begin so", CLI_TEXT},
    [OPT_KEY] = {0, "key", "KEY", "this key, counter or set alone", CLI_TEXT},
    [OPT_AFTER] = {0, "after", "KEY", "begin behind this key", CLI_TEXT},
    [OPT_END] = {0, "end", "KEY", "stop before this key", CLI_TEXT},
    [OPT_LIMIT] = {'n', "limit", "N", "stop after so many", CLI_NUMBER},
    [OPT_REVERSE] = {'r', "reverse", NULL, "from the last key to the first", CLI_FLAG},
    [OPT_DELIMITER] = {'d', "delimiter", "TEXT", "show keys that have it behind the prefix as one folder",
                       CLI_TEXT},
    [OPT_VALUES] = {'v', "values", NULL, "with their values", CLI_FLAG},
    [OPT_FROM] = {0, "from", "STORE",
                  "whose export it is: etcd, consul, redis, couchdb, or yzma, which it is without",
                  CLI_CHOICE, .choices = "etcd consul redis couchdb yzma"},
    [OPT_INTO] = {0, "into", "PREFIX", "put this in front of each key", CLI_TEXT},
    [OPT_SKIP] = {0, "skip", "N", "pass over the first N records, which are there already", CLI_NUMBER},
    [OPT_RESUME] = {0, "resume", NULL, "go on behind the last key that FILE has", CLI_FLAG},
    [OPT_SINCE] = {0, "since", "CURSOR", "what came after this cursor; 0: first all that there is", CLI_TEXT},
    [OPT_TAKE] = {0, "take", "N", "keep the N-th version, as get --siblings counts", CLI_NUMBER, .least = 1,
                  .most = 65536},
    [OPT_FORCE] = {'f', "force", NULL, "although members are silent, away or not YzmaDB", CLI_FLAG},
    [OPT_COMPARE] = {0, "compare", NULL, "compare two running nodes, by their APIs", CLI_FLAG},
    [OPT_CONNECTIONS] = {0, "connections", "N", "connections, each with one request at a time (16)",
                         CLI_NUMBER, .least = 1, .most = 1024},
    [OPT_SECONDS] = {0, "seconds", "N", "for how long (10)", CLI_NUMBER, .least = 1, .most = 86400},
    [OPT_READS] = {0, "reads", "PERCENT", "how many of 100 requests are reads (90)", CLI_NUMBER, .most = 100},
    [OPT_KEYS] = {0, "keys", "N", "different keys (1000)", CLI_NUMBER, .least = 1, .most = 10000000},
    [OPT_SIZE] = {0, "size", "BYTES", "of a value (100)", CLI_NUMBER, .least = 2, .most = 64 << 20},
    [OPT_MAN] = {0, "man", "PAGE", "print a man page: yzma or yzma.json", CLI_CHOICE,
                 .choices = "yzma yzma.json"},
    [OPT_COMPLETION] = {0, "completion", "SHELL", "print the completion for bash or zsh", CLI_CHOICE,
                        .choices = "bash zsh"},
    [OPT_VERSION] = {'V', "version", NULL, "print the version", CLI_FLAG},
    [OPT_HELP] = {'h', "help", NULL, "print help, of the command if there is one", CLI_FLAG},
};

const struct cli_command_spec cli_commands[CLI_COMMANDS] = {
    [CLI_SERVE] =
        {"", "", GROUP_NODE, 0, 0, BIT(CONFIG) | BIT(JOIN) | BIT(VERSION), "start a node",
         "Runs in the foreground. A node that knew its cluster finds it again without -j. TERM and "
         "INT answer what is in flight, tell the cluster and stop; HUP reads the configuration's log "
         "level, Block list and Keys again.",
         "yzma -c one.json\nyzma -c two.json -j 127.0.0.1:7946"},
    [CLI_GET] = {"get", "KEY", GROUP_DATA, 1, 1,
                 NODE | BIT(JSON) | BIT(RAW) | BIT(SIBLINGS) | BIT(CONTEXT) | BIT(WITH) | BIT(WAIT) |
                     BIT(COUNTER),
                 "print a value",
                 "JSON is printed as it was written, and other bytes as they are, though not on a terminal "
                 "unless they are text. Exit code 3 where there is no such key, and where it has several "
                 "versions that the cluster does not choose from.",
                 "yzma get users/7\nyzma get users/7 --siblings\nyzma get cat.png --raw > cat.png"},
    [CLI_PUT] =
        {"put", "KEY VALUE", GROUP_DATA, 1, 2,
         NODE | WRITE | BIT(JSON) | BIT(TYPE) | BIT(FILE) | BIT(TTL) | BIT(EXPIRES) | BIT(TOUCH) |
             BIT(IF_MATCH) | BIT(IF_NONE_MATCH) | BIT(ADD) | BIT(WITH),
         "store a value",
         "VALUE is JSON, or anything with --type. @FILE takes it from a file, as --file FILE does, and "
         "- from standard input. With --touch there is none.",
         "yzma put users/7 '{\"name\":\"Kuzco\"}'\n"
         "yzma put motd 'hello' --type text/plain\n"
         "yzma put cat.png @cat.png --type image/png\n"
         "yzma put service/a '\"up\"' --ttl 30s\n"
         "yzma put once 1 --if-none-match '*'\n"
         "yzma put safe 1 -w majority --wait 2s"},
    [CLI_DELETE] = {"delete", "KEY...", GROUP_DATA, 0, CLI_WORDS_MANY,
                    NODE | WRITE | BIT(JSON) | BIT(PREFIX) | BIT(COUNTER) | BIT(IF_MATCH) |
                        BIT(IF_NONE_MATCH) | BIT(WITH),
                    "delete keys",
                    "One after the other; deleting what is not there is no error. With --prefix in place of "
                    "keys, all that begin so: what is deleted stays so where that breaks off.",
                    "yzma delete users/7 users/8\nyzma delete --prefix sessions/"},
    [CLI_LIST] = {"list", "[PREFIX]", GROUP_DATA, 0, 1, NODE | RANGE | BIT(VALUES) | BIT(SPACE) | BIT(JSON),
                  "list keys in byte order",
                  "A table on a terminal; else a line for each key, and with --values a tabulator and the "
                  "value behind it.",
                  "yzma list users/ --values\nyzma list -d / --limit 20\nyzma list --space counters -v"},
    [CLI_COUNT] = {"count", "[PREFIX]", GROUP_DATA, 0, 1,
                   NODE | BIT(AFTER) | BIT(END) | BIT(REVERSE) | BIT(JSON), "count keys", NULL,
                   "yzma count users/"},
    [CLI_WATCH] =
        {"watch", "[PREFIX]", GROUP_DATA, 0, 1,
         NODE | BIT(SPACE) | BIT(KEY) | BIT(SINCE) | BIT(LIMIT) | BIT(JSON),
         "print what changes, until interrupted",
         "When the node goes away it continues at the next server where it stood, and shows no older "
         "state after a newer one. At its end it prints the cursor on standard error, for --since; "
         "with --json each event has its own. PREFIX is of all names that begin so, --key of one alone. With "
         "--json, yzma import takes what comes, and so keeps another store like this one.",
         "yzma watch users/\nyzma watch --since 0 -n 100 --json\nyzma watch --space sets --key tags\n"
         "yzma watch --space all --since 0 --json | yzma import -s two:8080"},
    [CLI_INCR] =
        {"incr", "KEY [N]", GROUP_DATA, 1, 2, NODE | WRITE | BIT(JSON), "add to a counter, and print it",
         "N may be negative; 1 without it. Counters are a name space of their own. A call that broke "
         "after it was sent is not repeated, as it may have been counted.",
         "yzma incr hits\nyzma incr stock -5"},
    [CLI_SET_ADD] =
        {"set add", "KEY ELEMENT...", GROUP_DATA, 1, CLI_WORDS_MANY,
         NODE | WRITE | BIT(TEXT) | BIT(FILE) | BIT(WITH) | BIT(JSON), "add elements to a set",
         "Elements are JSON, or texts with --text; - stands for those of standard input, one on each line, "
         "as "
         "--file FILE does for those of a file. Where one node adds what another removes, the add wins. Up "
         "to "
         "10,000 elements are one transaction of the node that is asked. Sets are a name space of their own.",
         "yzma set add tags --text red blue\nyzma set add seen '{\"id\":7}' 8\n"
         "cut -f 1 names.tsv | yzma set add names --text -"},
    [CLI_SET_REMOVE] = {"set remove", "KEY ELEMENT...", GROUP_DATA, 1, CLI_WORDS_MANY,
                        NODE | WRITE | BIT(TEXT) | BIT(FILE) | BIT(WITH) | BIT(JSON),
                        "remove elements from a set",
                        "Elements are read as set add reads them. Removing what is not there is no error.",
                        "yzma set remove tags --text red"},
    [CLI_SET_LIST] =
        {"set list", "KEY", GROUP_DATA, 1, 1,
         NODE | BIT(LIMIT) | BIT(TEXT) | BIT(WITH) | BIT(WAIT) | BIT(JSON), "print a set's elements",
         "One on each line, in no order of theirs, as JSON; with --text, texts as they are. A set "
         "without elements is not there, and prints nothing.",
         "yzma set list tags\nyzma list --space sets"},
    [CLI_SET_HAS] = {"set has", "KEY ELEMENT", GROUP_DATA, 2, 2,
                     NODE | BIT(TEXT) | BIT(WITH) | BIT(WAIT) | BIT(JSON), "tell whether an element is there",
                     "Prints true; exit code 3 where it is not.", "yzma set has tags --text red && echo yes"},
    [CLI_SET_COUNT] = {"set count", "KEY", GROUP_DATA, 1, 1, NODE | BIT(WITH) | BIT(WAIT) | BIT(JSON),
                       "count a set's elements", NULL, NULL},
    [CLI_SET_DELETE] =
        {"set delete", "KEY", GROUP_DATA, 1, 1, NODE | BIT(WITH) | BIT(JSON), "remove all elements of a set",
         "In parts: what is removed stays so where that breaks off, and what is added meanwhile "
         "may stay.",
         NULL},
    [CLI_BATCH] = {"batch", "FILE", GROUP_DATA, 1, 1, NODE | WRITE | BIT(JSON),
                   "several puts and deletes, all or none",
                   "FILE (-: standard input) has the operations as JSON: a line each, an array of them, or "
                   "{\"Ops\":[..]}. Each is {\"Op\":\"put\",\"Key\":..,\"Value\":..} or "
                   "{\"Op\":\"delete\",\"Key\":..}, and may have more (docs/HTTP.md). All are done in one "
                   "transaction of the node that is asked.",
                   "yzma batch changes.ndjson\necho '{\"Op\":\"delete\",\"Key\":\"a\"}' | yzma batch -"},
    [CLI_IMPORT] =
        {"import", "[FILE]", GROUP_DATA, 0, 1,
         NODE | BIT(FROM) | BIT(PREFIX) | BIT(INTO) | BIT(TYPE) | BIT(SKIP) | BIT(JSON),
         "store what an export of this or another store has",
         "FILE (-, or none: standard input) is of any length. Its records replace what is there, "
         "or, where they have contexts, what was seen; doing it again does no harm. It takes what yzma watch "
         "--json prints, too, as it comes, with its deletions. Values that are JSON stay so, others become "
         "bytes, of --type "
         "if it is given. Where the node does not answer it is tried again for a minute; what then "
         "is left can be had later with --skip. Exit code 3 where entries were left out, each with "
         "its reason on standard error. docs/MIGRATION.md has the commands that make exports.",
         "yzma import dump.ndjson\n"
         "etcdctl get '' --prefix -w json | yzma import --from etcd\n"
         "consul kv export | yzma import --from consul --into consul/\n"
         "redis-cli --rdb - | yzma import --from redis\n"
         "curl 'localhost:5984/db/_all_docs?include_docs=true' > db.json\n"
         "yzma import --from couchdb db.json"},
    [CLI_EXPORT] =
        {"export", "[FILE]", GROUP_DATA, 0, 1,
         NODE | BIT(SPACE) | BIT(SIBLINGS) | BIT(CONTEXTS) | BIT(PREFIX) | BIT(AFTER) | BIT(END) |
             BIT(RESUME),
         "write all keys with their values, a line of JSON each",
         "In key order, to a new FILE, or to standard output; yzma import takes it. It is not of one "
         "moment: what changes meanwhile may be in it or not. Where the connection breaks it goes on "
         "behind the last line, at the next server. Counters and sets are other name spaces: --space all has "
         "keys, counters and sets in one file. (A backup also has their histories.)",
         "yzma export > dump.ndjson\nyzma export --prefix users/ --siblings users.ndjson\n"
         "yzma export --space all all.ndjson\nyzma export --space all --resume all.ndjson"},
    [CLI_CONFLICTS] = {"conflicts", "[PREFIX]", GROUP_DATA, 0, 1, NODE | BIT(AFTER) | BIT(LIMIT) | BIT(JSON),
                       "list keys with more than one version", NULL, "yzma conflicts"},
    [CLI_RESOLVE] = {"resolve", "KEY [VALUE]", GROUP_DATA, 1, 2,
                     NODE | WRITE | BIT(TAKE) | BIT(FILE) | BIT(TYPE) | BIT(JSON),
                     "make one version of several",
                     "Without a value and without --take it shows the versions, numbered. The value replaces "
                     "those that were there when they were read, and no others.",
                     "yzma resolve users/7\nyzma resolve users/7 --take 2\n"
                     "yzma resolve users/7 '{\"name\":\"Kuzco\"}'"},
    [CLI_MEMBERS] = {"members", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON), "the members of the cluster", NULL,
                     NULL},
    [CLI_STATUS] = {"status", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON),
                    "how the node is, and how far behind",
                    "First whether it is ready, then what wants somebody's attention, then its links.", NULL},
    [CLI_JOIN] = {"join", "HOST[:PORT]...", GROUP_CLUSTER, 1, 256, NODE | BIT(JSON),
                  "let the node join others",
                  "The address is that of gossip (port 7946), not of the API: where one is given, it says "
                  "which is the right one.",
                  "yzma join 10.0.0.7"},
    [CLI_LEAVE] = {"leave", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON),
                   "let the node leave the cluster for good",
                   "It goes on alone with its data. Stopping a node is not leaving: it is expected back.",
                   NULL},
    [CLI_KEYS_LIST] = {"keys list", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON),
                       "the keys that seal gossip, and who holds them", NULL, NULL},
    [CLI_KEYS_INSTALL] = {"keys install", "KEY", GROUP_CLUSTER, 1, 1, NODE | BIT(FORCE) | BIT(JSON),
                          "let all members read what KEY seals",
                          "KEY is base64 of 16, 24 or 32 bytes, or - for standard input, where nobody who "
                          "lists processes sees it.",
                          "openssl rand -base64 32 > key\nyzma keys install - < key"},
    [CLI_KEYS_USE] = {"keys use", "KEY", GROUP_CLUSTER, 1, 1, NODE | BIT(FORCE) | BIT(JSON),
                      "let all members seal with KEY", "KEY is its name, 8 hex digits, or the key.",
                      "yzma keys use 5891b5b5"},
    [CLI_KEYS_REMOVE] = {"keys remove", "KEY", GROUP_CLUSTER, 1, 1, NODE | BIT(FORCE) | BIT(JSON),
                         "let no member read what KEY seals", "KEY is its name, 8 hex digits, or the key.",
                         "yzma keys remove 374708ff"},
    [CLI_FORGET] = {"forget", "REPLICA", GROUP_CLUSTER, 1, 1, NODE | BIT(JSON),
                    "wait no longer for a replica",
                    "REPLICA is a UUID or a member name. It may come back, and then counts again.", NULL},
    [CLI_RETIRE] = {"retire", "REPLICA", GROUP_CLUSTER, 1, 1, NODE | BIT(JSON), "end a replica's id",
                    "For one that is gone for good, with operations that nobody has in whole: it never comes "
                    "back with that id. REPLICA is a UUID or a member name.",
                    NULL},
    [CLI_PAUSE] = {"pause", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON),
                   "let what other nodes write wait at this node", NULL, NULL},
    [CLI_RESUME] = {"resume", "", GROUP_CLUSTER, 0, 0, NODE | BIT(JSON), "let it in again", NULL, NULL},
    [CLI_BACKUP] = {"backup", "FILE", GROUP_STORE, 1, 1, NODE,
                    "write what a running node holds into a new file", NULL, "yzma backup monday.yzma"},
    [CLI_RESTORE] = {"restore", "FILE", GROUP_STORE, 1, 1, BIT(CONFIG), "make a new replica of a backup",
                     "Where the configuration's Server.DBPath has nothing yet.", NULL},
    [CLI_REIDENTIFY] = {"reidentify", "", GROUP_STORE, 0, 0, BIT(CONFIG),
                        "give a stopped node's store a new id",
                        "As one must whose store is a copy of another's.", NULL},
    [CLI_COMPACT] = {"compact", "", GROUP_STORE, 0, 0, BIT(CONFIG), "make a stopped node's file smaller",
                     NULL, NULL},
    [CLI_DOCTOR] = {"doctor", "", GROUP_STORE, 0, 0, BIT(CONFIG), "check a stopped node's store",
                    "It changes nothing. Exit code 3 where it has found something.", NULL},
    [CLI_COMPARE] = {"doctor --compare", "HOST:PORT HOST:PORT", GROUP_STORE, 2, 2, BIT(COMPARE),
                     "find keys that two running nodes hold differently",
                     "The addresses are those of the APIs. Exit code 3 where some differ.",
                     "yzma doctor --compare 10.0.0.7:8080 10.0.0.8:8080"},
    [CLI_BENCH] = {"bench", "", GROUP_OTHER, 0, 0,
                   NODE | BIT(CONNECTIONS) | BIT(SECONDS) | BIT(READS) | BIT(KEYS) | BIT(SIZE) | BIT(PREFIX) |
                       BIT(JSON),
                   "load a node, and print its rate and latencies",
                   "It writes the keys yzma-bench/0 and on (--prefix: others) and leaves them there. All "
                   "connections go to the first server.",
                   "yzma bench --connections 64 --reads 50\nyzma delete --prefix yzma-bench/"},
    [CLI_CONFIG_CHECK] = {"config check", "", GROUP_OTHER, 0, 0, BIT(CONFIG) | BIT(JSON),
                          "read the configuration, and print what is in effect",
                          "Settings that are not their defaults are marked with *. Keys are never shown.",
                          "yzma config check -c new.json"},
    [CLI_VERSION] = {"version", "", GROUP_OTHER, 0, 0, BIT(JSON), "print the version", NULL, NULL},
    [CLI_HELP] = {"help", "[COMMAND]", GROUP_OTHER, 0, 3, BIT(MAN) | BIT(COMPLETION),
                  "print help, man pages, completion",
                  "Man pages and completion are installed with the program; this prints the same.",
                  "yzma help put\nyzma help --man yzma | man -l -\nsource <(yzma help --completion bash)"},
};
