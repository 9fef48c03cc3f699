/* What each setting is, in a sentence: for the man page. docs/CONFIGURATION.md tells more. */
#include "config_table.h"

static const struct {
    const char *path, *text;
} texts[SETTINGS] = {
    {"API.Bind",
     "Where HTTP listens. There is no login yet: anyone who reaches it may read and write. An empty "
     "host is every address, port 0 any free port."},
    {"API.Threads", "Threads that answer requests; as many as there are cores."},
    {"API.MaxValueBytes", "The largest value."},
    {"API.MaxConnections", "Open connections; more are closed at once."},
    {"API.RequestTimeout",
     "From a request's first byte to its last, and 1 s for each MiB of body; the longest wait of a call."},
    {"API.MaxBodiesInFlight", "Bodies in memory together; at least MaxValueBytes."},
    {"API.MaxWatchers", "Streams and waiting polls of watches; streams do not count as connections."},
    {"API.MaxWatchLag",
     "Operations that a reader of a stream may fall behind by, its socket full, before it is cut off."},
    {"API.WatchHeartbeat", "Between two signs of life in a stream in which nothing happens."},
    {"API.AllowedOrigins", "Web origins besides the node's own that may call."},
    {"Peering.Name", "The member's name is this, a dash, and the store's id. The host's name without it."},
    {"Peering.BindAddr", "The address of gossip and replication."},
    {"Peering.BindPort", "Gossip, UDP and TCP."},
    {"Peering.ReplicationPort",
     "TCP; BindPort + 1 without it. 0 is any free port, told to the others by gossip."},
    {"Peering.AdvertiseAddress", "At which peers reach this node: BindAddr if that is one address, else the "
                                 "machine's first private one."},
    {"Peering.AdvertisePort", "The gossip port at that address; BindPort without it."},
    {"Peering.Federation.NodeName", "A label for people; Name without it."},
    {"Peering.Federation.APIIngress", "Where peers reach replication, whatever its name says; "
                                      "AdvertiseAddress and ReplicationPort without it."},
    {"Peering.Profile", "The timing of gossip, as memberlist names it."},
    {"Peering.Join", "Members to join, a host alone at port 7946; -j adds to it. Each is tried until it was "
                     "reached, and again whenever the node finds itself alone."},
    {"Peering.Block",
     "Names, short or with the id, that are refused in gossip, in replication and when they join."},
    {"Peering.Label",
     "Nodes with another label, or none, are refused. It keeps clusters apart that reach each other by "
     "mistake, and is no secret."},
    {"Peering.Keys",
     "Keys that seal gossip, and not replication: the first one seals, all are read. yzma keys "
     "changes them in a running cluster."},
    {"Peering.VerifyIncoming", "False, while there are keys: what is not sealed is taken all the same."},
    {"Peering.VerifyOutgoing", "False, while there are keys: nothing is sealed."},
    {"Peering.ProtocolVersion", "Of memberlist's protocol: which one this node says that it speaks. All are "
                                "understood."},
    {"Peering.DelegateVersion",
     "For sharing a cluster with programs that ask for it, such as \"2,5,5\" beside Serf."},
    {"Peering.ForgetAfter",
     "A member away for longer is no longer waited for: its return costs a walk of the store."},
    {"Peering.ClockSkewMax",
     "Time stamps further ahead than this are not followed, and a node whose clock is "
     "further than this from its peers' drops nothing that has expired."},
    {"Peering.QuarantineMax",
     "Records that peers sent and this program cannot read, kept until it can; when it is full, links that "
     "bring more end."},
    {"Peering.Compression",
     "Of what is replicated in bulk: auto is zstd's level 1, left out for a while where "
     "it did not help; a level is always tried."},
    {"Server.DBPath", "The store: this file, the folder with -log behind its name, and a file with -lock."},
    {"Server.History", "For how long history is kept for those who watch."},
    {"Server.HistoryMax", "History kept in any case goes beyond no size but this."},
    {"Server.MemoryTable", "Memory for what the log holds and the tree does not yet. Writers wait when it is "
                           "full."},
    {"Server.MaxVersions", "Concurrent versions of one key; a write that would make more is refused."},
    {"Server.MaxStoreBytes",
     "The store's file grows to no more than this; without it, as far as the disk goes."},
    {"Server.Conflict",
     "Of a key with concurrent versions: lww shows the latest, and a write without a context replaces all; "
     "siblings shows all, and such a write becomes one more."},
    {"Server.Log.Level", "What is logged: this and what is worse."},
    {"Server.Log.Format", "A line of text, or an object of JSON, for each event."},
    {"Server.SlowRequest", "Requests that take longer are logged."},
};

const char *setting_about(const struct setting *setting)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (texts[i].path && strcmp(texts[i].path, setting->path) == 0)
            return texts[i].text;
    return "";
}
