package faultfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// node is a file, a folder or a symbolic link, with what of it is durable.
type node struct {
	number   uint64
	mode     uint32
	uid, gid uint32
	links    uint32
	modified time.Time
	parent   *node // and name: where it was made or moved to last
	name     string

	data    []byte
	stable  []byte
	written []dataChange // since the last sync

	entries  map[string]*node
	fixed    map[string]*node
	recorded []record // since the last sync

	target string
	last   int // the number of the last record about it
}

// dataChange is a write, or a cut to a length.
type dataChange struct {
	offset int64
	data   []byte
	cut    bool
}

// entryChange makes a name stand for a node; nil: for none. Two changes of one
// folder that belong together, as in a move within it, are one.
type entryChange map[string]*node

// record is a change of entries with its place among all changes of entries.
type record struct {
	number int
	change entryChange
}

func (n *node) isFolder() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// path is where the node is, for Break.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	if above := n.parent.path(); above != "" {
		return above + "/" + n.name
	}
	return n.name
}

// add makes a node with its entry in a folder.
func (f *FS) add(parent *node, name string, mode uint32) *node {
	n := &node{number: uint64(len(f.nodes)), mode: mode, links: 1, modified: time.Now(), uid: uint32(syscall.Getuid()), gid: uint32(syscall.Getgid())}
	if n.isFolder() {
		n.entries, n.fixed, n.links = map[string]*node{}, map[string]*node{}, 2
	}
	f.nodes = append(f.nodes, n)
	if parent != nil {
		n.parent, n.name = parent, name
		f.record(parent, entryChange{name: n})
	}
	return n
}

// record changes entries of a folder, not yet durably.
func (f *FS) record(n *node, change entryChange) {
	f.records++
	n.last = f.records
	for name, child := range change {
		if child == nil {
			child = n.entries[name]
		}
		child.last = f.records
	}
	change.apply(n.entries)
	n.recorded = append(n.recorded, record{f.records, change})
	n.modified = time.Now()
}

func (c entryChange) apply(entries map[string]*node) {
	for name, child := range c {
		if child == nil {
			delete(entries, name)
		} else {
			entries[name] = child
		}
	}
}

// write changes the content of a file, not yet durably.
func (n *node) write(change dataChange) {
	n.data = change.apply(n.data)
	n.written = append(n.written, change)
	n.modified = time.Now()
}

func (c dataChange) apply(data []byte) []byte {
	end := int(c.offset) + len(c.data)
	if end > len(data) {
		data = append(data, make([]byte, end-len(data))...)
	}
	if c.cut {
		return data[:c.offset:c.offset]
	}
	copy(data[c.offset:], c.data)
	return data
}

// sync makes the content of a file, or the entries of a folder, durable.
func (f *FS) sync(n *node) {
	f.committed = max(f.committed, n.last)
	for _, change := range n.written {
		n.stable = change.apply(n.stable)
	}
	for _, r := range n.recorded {
		r.change.apply(n.fixed)
	}
	if n.stable == nil { // loaded
		n.stable = slices.Clone(n.data)
	}
	n.written, n.recorded = nil, nil
}

func sortedNames(entries map[string]*node) []string { return slices.Sorted(maps.Keys(entries)) }

// chance decides what of the changes since the last syncs is durable, once for each
// node.
type chance struct {
	*rand.Rand
	journal bool
	until   int // the last durable record of the journal
	seen    map[*node]map[string]*node
}

func (f *FS) newChance(seed uint64, journal bool) *chance {
	c := &chance{Rand: rand.New(rand.NewPCG(seed, 2)), journal: journal, seen: map[*node]map[string]*node{}}
	c.until = f.committed + c.some(f.records-f.committed)
	return c
}

// entries are those of the last sync and some of the changes since, in their order.
func (c *chance) entries(n *node) map[string]*node {
	if c.seen[n] == nil {
		c.seen[n] = maps.Clone(n.fixed)
		some := c.some(len(n.recorded))
		for i, r := range n.recorded {
			if c.journal && r.number <= c.until || !c.journal && i < some {
				r.change.apply(c.seen[n])
			}
		}
	}
	return c.seen[n]
}

// some is how many of n: none and all are as likely as anything between.
func (c *chance) some(n int) int {
	switch c.IntN(3) {
	case 0:
		return 0
	case 1:
		return n
	}
	return c.IntN(n + 1)
}

// content is that of the last sync and some of the sectors changed since.
func (c *chance) content(n *node) []byte {
	data := slices.Clone(n.stable)
	sector := []int{512, 4096}[c.IntN(2)]
	kept := []float64{0, 0.1, 0.5, 0.9, 1}[c.IntN(5)]
	for _, change := range n.written {
		if change.cut {
			if c.Float64() < kept {
				data = change.apply(data)
			}
			continue
		}
		for begin := 0; begin < len(change.data); {
			at := int(change.offset) + begin
			end := min(begin+sector-at%sector, len(change.data))
			if c.Float64() < kept {
				data = dataChange{offset: int64(at), data: change.data[begin:end]}.apply(data)
			}
			begin = end
		}
	}
	return data
}
