// peer is a scriptable memberlist node. It exists so that another
// implementation of the protocol can be tested against the real library.
//
// Everything it learns goes to stdout as one JSON object per line; it takes
// one command per line on stdin.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// ---------------------------------------------------------------- output

var (
	outMu  sync.Mutex
	outEnc = json.NewEncoder(os.Stdout)
)

type fields map[string]interface{}

func emit(event string, f fields) {
	if f == nil {
		f = fields{}
	}
	f["ev"] = event
	f["t"] = float64(time.Now().UnixNano()) / 1e9
	outMu.Lock()
	outEnc.Encode(f)
	outMu.Unlock()
}

func problem(where string, err error) {
	emit("error", fields{"in": where, "error": err.Error()})
}

func describe(n *memberlist.Node) fields {
	return fields{
		"name":  n.Name,
		"addr":  n.Address(),
		"meta":  string(n.Meta),
		"state": int(n.State),
		"vsn":   []int{int(n.PMin), int(n.PMax), int(n.PCur), int(n.DMin), int(n.DMax), int(n.DCur)},
	}
}

// payload puts a message under "text", and under "hex" too when asked for or
// when it is not printable.
func payload(b []byte) fields {
	f := fields{"len": len(b)}
	if len(b) > 4096 {
		f["head"] = hex.EncodeToString(b[:64])
		return f
	}
	f["text"] = string(b)
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			f["hex"] = hex.EncodeToString(b)
			break
		}
	}
	return f
}

// logLines turns the library's own log into events.
type logLines struct{ on bool }

func (l logLines) Write(p []byte) (int, error) {
	if l.on {
		emit("log", fields{"line": strings.TrimRight(string(p), "\n")})
	}
	return len(p), nil
}

// -------------------------------------------------------------- delegate

type text struct{ s string }

func (t *text) Message() []byte                         { return []byte(t.s) }
func (t *text) Finished()                               {}
func (t *text) Invalidates(o memberlist.Broadcast) bool { return false }

type node struct {
	mu    sync.Mutex
	meta  []byte
	state []byte
	ack   []byte
	queue memberlist.TransmitLimitedQueue
	list  atomic.Value // *memberlist.Memberlist
}

func (n *node) NodeMeta(limit int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.meta) > limit {
		emit("error", fields{"in": "meta", "error": "cut to the limit", "limit": limit})
		return n.meta[:limit]
	}
	return n.meta
}

func (n *node) NotifyMsg(b []byte) { emit("msg", payload(b)) }

func (n *node) GetBroadcasts(overhead, limit int) [][]byte {
	return n.queue.GetBroadcasts(overhead, limit)
}

func (n *node) LocalState(join bool) []byte {
	n.mu.Lock()
	s := n.state
	n.mu.Unlock()
	emit("localstate", fields{"join": join, "len": len(s)})
	return s
}

func (n *node) MergeRemoteState(b []byte, join bool) {
	f := payload(b)
	f["join"] = join
	emit("remotestate", f)
}

func (n *node) NotifyJoin(m *memberlist.Node)   { emit("join", describe(m)) }
func (n *node) NotifyLeave(m *memberlist.Node)  { emit("leave", describe(m)) }
func (n *node) NotifyUpdate(m *memberlist.Node) { emit("update", describe(m)) }

func (n *node) NotifyConflict(have, other *memberlist.Node) {
	emit("conflict", fields{"have": describe(have), "other": describe(other)})
}

func (n *node) AckPayload() []byte { return n.ack }

func (n *node) NotifyPingComplete(m *memberlist.Node, rtt time.Duration, p []byte) {
	emit("rtt", fields{"name": m.Name, "us": rtt.Microseconds(), "payload": string(p)})
}

func (n *node) members() int {
	if l, ok := n.list.Load().(*memberlist.Memberlist); ok && l != nil {
		return l.NumMembers()
	}
	return 1
}

// ------------------------------------------------------------- transport

// wire sits between the library and its own UDP/TCP transport. It can print
// every byte that passes and can cut the node off without touching the host's
// network.
type wire struct {
	*memberlist.NetTransport
	trace            bool
	dropUDP, dropTCP int32
	packets          chan *memberlist.Packet
	streams          chan net.Conn
	ids              int64
}

func newWire(nt *memberlist.NetTransport, trace bool) *wire {
	w := &wire{NetTransport: nt, trace: trace,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn)}
	go func() {
		for p := range nt.PacketCh() {
			if w.off(&w.dropUDP) {
				continue
			}
			w.dump("udp-rx", p.From.String(), -1, p.Buf)
			w.packets <- p
		}
	}()
	go func() {
		for c := range nt.StreamCh() {
			if w.off(&w.dropTCP) {
				c.Close()
				continue
			}
			w.streams <- w.wrap(c, "in")
		}
	}()
	return w
}

func (w *wire) off(flag *int32) bool { return atomic.LoadInt32(flag) != 0 }

func (w *wire) dump(what, peer string, id int64, b []byte) {
	if !w.trace {
		return
	}
	f := fields{"peer": peer, "len": len(b), "hex": hex.EncodeToString(b)}
	if id >= 0 {
		f["stream"] = id
	}
	emit(what, f)
}

func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }
func (w *wire) StreamCh() <-chan net.Conn           { return w.streams }

func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	if w.off(&w.dropUDP) {
		return time.Now(), nil
	}
	w.dump("udp-tx", addr, -1, b)
	return w.NetTransport.WriteTo(b, addr)
}

func (w *wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return w.WriteTo(b, a.Addr)
}

func (w *wire) DialTimeout(addr string, d time.Duration) (net.Conn, error) {
	if w.off(&w.dropTCP) {
		return nil, fmt.Errorf("peer: TCP is switched off")
	}
	c, err := w.NetTransport.DialTimeout(addr, d)
	if err != nil {
		return nil, err
	}
	return w.wrap(c, "out"), nil
}

func (w *wire) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	return w.DialTimeout(a.Addr, d)
}

type tracedConn struct {
	net.Conn
	w  *wire
	id int64
}

func (w *wire) wrap(c net.Conn, dir string) net.Conn {
	if !w.trace {
		return c
	}
	t := &tracedConn{Conn: c, w: w, id: atomic.AddInt64(&w.ids, 1)}
	emit("tcp-open", fields{"dir": dir, "peer": c.RemoteAddr().String(), "stream": t.id})
	return t
}

func (t *tracedConn) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if n > 0 {
		t.w.dump("tcp-rx", t.RemoteAddr().String(), t.id, b[:n])
	}
	return n, err
}

func (t *tracedConn) Write(b []byte) (int, error) {
	t.w.dump("tcp-tx", t.RemoteAddr().String(), t.id, b)
	return t.Conn.Write(b)
}

func (t *tracedConn) Close() error {
	emit("tcp-close", fields{"stream": t.id})
	return t.Conn.Close()
}

// ------------------------------------------------------------------ main

func fatal(where string, err error) {
	problem(where, err)
	os.Exit(1)
}

func main() {
	host, _ := os.Hostname()
	name := flag.String("name", host, "node name")
	bind := flag.String("bind", "127.0.0.1", "address to bind")
	advertise := flag.String("advertise", "", "address to advertise (default: the bind address; \"auto\": let the library choose)")
	port := flag.Int("port", 7946, "UDP and TCP port")
	join := flag.String("join", "", "comma separated addresses to join at start")
	key := flag.String("key", "", "base64 AES key (16, 24 or 32 bytes); several, comma separated: the first one encrypts")
	profile := flag.String("profile", "lan", "timings: lan, wan or local")
	meta := flag.String("meta", "", "node meta data")
	state := flag.String("state", "", "local state for push/pull")
	ack := flag.String("ack", "", "payload for UDP acks")
	compress := flag.Bool("compress", true, "compress what is sent")
	protocol := flag.Int("protocol", 0, "protocol version to speak (0: the library's default)")
	delegate := flag.String("delegate", "0,0,0", "delegate protocol versions: min,max,current")
	trace := flag.Bool("trace", false, "print every UDP packet and TCP read/write in hex")
	logs := flag.Bool("log", false, "print the library's log lines as events")
	pushpull := flag.Duration("pushpull", -1, "override the push/pull interval (0 turns it off)")
	probe := flag.Duration("probe", -1, "override the probe interval (0 turns it off)")
	tcpping := flag.Bool("tcpping", true, "fall back to a TCP ping")
	reclaim := flag.Duration("reclaim", 0, "dead node reclaim time")
	flag.Parse()

	var c *memberlist.Config
	switch *profile {
	case "lan":
		c = memberlist.DefaultLANConfig()
	case "wan":
		c = memberlist.DefaultWANConfig()
	case "local":
		c = memberlist.DefaultLocalConfig()
	default:
		fatal("profile", fmt.Errorf("unknown profile %q", *profile))
	}
	c.Name = *name
	c.BindAddr, c.BindPort = *bind, *port
	c.AdvertiseAddr, c.AdvertisePort = *advertise, *port
	switch *advertise {
	case "":
		c.AdvertiseAddr = *bind
	case "auto":
		c.AdvertiseAddr = ""
	}
	c.EnableCompression = *compress
	c.DisableTcpPings = !*tcpping
	c.DeadNodeReclaimTime = *reclaim
	if *protocol > 0 {
		c.ProtocolVersion = uint8(*protocol)
	}
	if *pushpull >= 0 {
		c.PushPullInterval = *pushpull
	}
	if *probe >= 0 {
		c.ProbeInterval = *probe
	}
	var d [3]uint8
	for i, s := range strings.SplitN(*delegate, ",", 3) {
		v, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			fatal("delegate", err)
		}
		d[i] = uint8(v)
	}
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = d[0], d[1], d[2]
	if *key != "" {
		var keys [][]byte
		for _, s := range strings.Split(*key, ",") {
			k, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				fatal("key", err)
			}
			keys = append(keys, k)
		}
		ring, err := memberlist.NewKeyring(keys, keys[0])
		if err != nil {
			fatal("key", err)
		}
		c.Keyring = ring
	}

	n := &node{meta: []byte(*meta), state: []byte(*state), ack: []byte(*ack)}
	if *state == "" {
		n.state = nil
	}
	n.queue.NumNodes = n.members
	n.queue.RetransmitMult = c.RetransmitMult
	c.Delegate, c.Events, c.Conflict = n, n, n
	if *ack != "" {
		c.Ping = n
	}
	c.Logger = log.New(logLines{*logs}, "", 0)

	nt, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{*bind}, BindPort: *port, Logger: c.Logger})
	if err != nil {
		fatal("listen", err)
	}
	if *port == 0 {
		c.BindPort = nt.GetAutoBindPort()
		c.AdvertisePort = c.BindPort
	}
	w := newWire(nt, *trace)
	c.Transport = w

	list, err := memberlist.Create(c)
	if err != nil {
		fatal("create", err)
	}
	n.list.Store(list)
	start := describe(list.LocalNode())
	start["pid"] = os.Getpid()
	emit("ready", start)

	if *join != "" {
		doJoin(list, strings.Split(*join, ","))
	}

	quit := make(chan os.Signal, 1)
	signal.Notify(quit, os.Interrupt, syscall.SIGTERM)
	lines := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		in.Buffer(make([]byte, 64*1024), 64*1024*1024)
		for in.Scan() {
			lines <- in.Text()
		}
		close(lines)
	}()
	for {
		select {
		case <-quit:
			list.Shutdown()
			return
		case l, ok := <-lines:
			if !ok { // stdin closed: stay until a signal comes
				lines = nil
				continue
			}
			if !command(list, n, w, c, l) {
				list.Shutdown()
				return
			}
		}
	}
}

func doJoin(list *memberlist.Memberlist, addrs []string) {
	k, err := list.Join(addrs)
	f := fields{"contacted": k}
	if err != nil {
		f["error"] = err.Error()
	}
	emit("joined", f)
}

func find(list *memberlist.Memberlist, name string) *memberlist.Node {
	for _, m := range list.Members() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// command runs one stdin line; false means stop.
func command(list *memberlist.Memberlist, n *node, w *wire, c *memberlist.Config, line string) bool {
	verb, rest := line, ""
	if i := strings.IndexByte(line, ' '); i >= 0 {
		verb, rest = line[:i], line[i+1:]
	}
	var err error
	switch verb {
	case "":
		return true
	case "members":
		all := []fields{}
		for _, m := range list.Members() {
			all = append(all, describe(m))
		}
		emit("members", fields{"members": all, "health": list.GetHealthScore()})
		return true
	case "broadcast":
		n.queue.QueueBroadcast(&text{rest})
	case "send", "sendudp": // send = reliable (TCP); sendudp = best effort
		i := strings.IndexByte(rest, ' ')
		if i < 0 {
			err = fmt.Errorf("usage: %s NODE TEXT", verb)
			break
		}
		to := find(list, rest[:i])
		if to == nil {
			err = fmt.Errorf("no live member %q", rest[:i])
		} else if verb == "send" {
			err = list.SendReliable(to, []byte(rest[i+1:]))
		} else {
			err = list.SendBestEffort(to, []byte(rest[i+1:]))
		}
	case "ping":
		var rtt time.Duration
		if to := find(list, rest); to == nil {
			err = fmt.Errorf("no live member %q", rest)
		} else if rtt, err = list.Ping(to.Name, &net.UDPAddr{IP: to.Addr, Port: int(to.Port)}); err == nil {
			emit("pong", fields{"name": to.Name, "us": rtt.Microseconds()})
		}
	case "join":
		doJoin(list, strings.Split(rest, ","))
		return true
	case "meta":
		n.mu.Lock()
		n.meta = []byte(rest)
		n.mu.Unlock()
		err = list.UpdateNode(5 * time.Second)
	case "state":
		n.mu.Lock()
		n.state = []byte(rest)
		n.mu.Unlock()
	case "statesize":
		var k int
		if k, err = strconv.Atoi(rest); err == nil {
			b := make([]byte, k)
			for i := range b {
				b[i] = byte(i)
			}
			n.mu.Lock()
			n.state = b
			n.mu.Unlock()
		}
	case "drop": // drop udp|tcp|all|none
		u, t := int32(0), int32(0)
		switch rest {
		case "udp":
			u = 1
		case "tcp":
			t = 1
		case "all":
			u, t = 1, 1
		case "none":
		default:
			err = fmt.Errorf("usage: drop udp|tcp|all|none")
		}
		if err == nil {
			atomic.StoreInt32(&w.dropUDP, u)
			atomic.StoreInt32(&w.dropTCP, t)
		}
	case "usekey":
		var k []byte
		if k, err = base64.StdEncoding.DecodeString(rest); err == nil {
			if c.Keyring == nil {
				err = fmt.Errorf("started without -key")
			} else if err = c.Keyring.AddKey(k); err == nil {
				err = c.Keyring.UseKey(k)
			}
		}
	case "leave":
		err = list.Leave(5 * time.Second)
	case "quit":
		return false
	default:
		err = fmt.Errorf("unknown command")
	}
	if err != nil {
		problem(verb, err)
	} else {
		emit("ok", fields{"cmd": verb})
	}
	return true
}
