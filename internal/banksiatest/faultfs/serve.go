package faultfs

import (
	"bytes"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel may remember everything for as long as it likes: all changes pass
// through it.
const remembered = time.Hour

func (f *FS) String() string { return "banksiatest" }

func (f *FS) attributes(n *node, out *fuse.Attr) {
	size := len(n.data) + len(n.target)
	*out = fuse.Attr{Ino: n.number, Size: uint64(size), Blocks: uint64(size+511) / 512, Mode: n.mode, Nlink: n.links, Blksize: 4096, Owner: fuse.Owner{Uid: n.uid, Gid: n.gid}}
	out.SetTimes(&n.modified, &n.modified, &n.modified)
}

func (f *FS) entry(n *node, out *fuse.EntryOut) {
	out.NodeId, out.Generation = n.number, 1
	out.SetEntryTimeout(remembered)
	out.SetAttrTimeout(remembered)
	f.attributes(n, &out.Attr)
}

// find is the node of a request, and its entry of a name.
func (f *FS) find(number uint64, name string) (n, child *node) {
	n = f.nodes[number]
	return n, n.entries[name]
}

func (f *FS) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, child := f.find(header.NodeId, name)
	switch {
	case child == nil:
		return fuse.ENOENT
	case f.has(FailReads, n, name):
		return fuse.EIO
	}
	f.entry(child, out)
	return fuse.OK
}

func (f *FS) GetAttr(_ <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	out.SetTimeout(remembered)
	f.attributes(f.nodes[input.NodeId], &out.Attr)
	return fuse.OK
}

func (f *FS) SetAttr(_ <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	size, resize := input.GetSize()
	if status := f.change(n, "", resize && int(size) > len(n.data)); !status.Ok() {
		return status
	}
	if resize {
		n.resize(int64(size))
	}
	if mode, ok := input.GetMode(); ok {
		n.mode = n.mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := input.GetUID(); ok {
		n.uid = uid
	}
	if gid, ok := input.GetGID(); ok {
		n.gid = gid
	}
	if modified, ok := input.GetMTime(); ok {
		n.modified = modified
	}
	out.SetTimeout(remembered)
	f.attributes(n, &out.Attr)
	return fuse.OK
}

// resize cuts a file to a length, or fills it up with zeros.
func (n *node) resize(size int64) {
	if size != int64(len(n.data)) {
		n.write(dataChange{offset: size, cut: true})
	}
}

// addNew adds an entry that is not there yet.
func (f *FS) addNew(header *fuse.InHeader, name string, mode uint32) (*node, fuse.Status) {
	n, child := f.find(header.NodeId, name)
	if child != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	if status := f.change(n, name, true); !status.Ok() {
		return nil, status
	}
	return f.add(n, name, mode), fuse.OK
}

func (f *FS) Mknod(_ <-chan struct{}, input *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if input.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.ENOSYS
	}
	return f.makeEntry(&input.InHeader, name, input.Mode, "", out)
}

func (f *FS) Mkdir(_ <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.makeEntry(&input.InHeader, name, syscall.S_IFDIR|input.Mode&0o7777, "", out)
}

func (f *FS) Symlink(_ <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return f.makeEntry(header, name, syscall.S_IFLNK|0o777, target, out)
}

func (f *FS) makeEntry(header *fuse.InHeader, name string, mode uint32, target string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, status := f.addNew(header, name, mode)
	if status.Ok() {
		n.target = target
		f.entry(n, out)
	}
	return status
}

func (f *FS) Create(_ <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return f.makeEntry(&input.InHeader, name, syscall.S_IFREG|input.Mode&0o7777, "", &out.EntryOut)
}

func (f *FS) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []byte(f.nodes[header.NodeId].target), fuse.OK
}

func (f *FS) Link(_ <-chan struct{}, input *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, child := f.find(input.NodeId, name)
	if child != nil {
		return fuse.Status(syscall.EEXIST)
	}
	if status := f.change(n, name, true); !status.Ok() {
		return status
	}
	child = f.nodes[input.Oldnodeid]
	child.links++
	f.record(n, entryChange{name: child})
	f.entry(child, out)
	return fuse.OK
}

func (f *FS) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, child := f.find(header.NodeId, name)
	if child == nil {
		return fuse.ENOENT
	}
	if status := f.change(n, name, false); !status.Ok() {
		return status
	}
	child.links--
	f.record(n, entryChange{name: nil})
	return fuse.OK
}

func (f *FS) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	f.mu.Lock()
	_, child := f.find(header.NodeId, name)
	f.mu.Unlock()
	if child != nil && len(child.entries) > 0 {
		return fuse.Status(syscall.ENOTEMPTY)
	}
	return f.Unlink(cancel, header, name)
}

func (f *FS) Rename(_ <-chan struct{}, input *fuse.RenameIn, oldName, newName string) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, child := f.find(input.NodeId, oldName)
	to, replaced := f.find(input.Newdir, newName)
	const noReplace = 1
	switch {
	case child == nil:
		return fuse.ENOENT
	case input.Flags&^noReplace != 0:
		return fuse.EINVAL
	case replaced == child:
		return fuse.OK
	case replaced != nil && input.Flags&noReplace != 0:
		return fuse.Status(syscall.EEXIST)
	case replaced != nil && len(replaced.entries) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	if status := f.change(to, newName, false); !status.Ok() {
		return status
	}
	if replaced != nil {
		replaced.links--
	}
	if from == to {
		f.record(from, entryChange{newName: child, oldName: nil})
	} else {
		f.record(to, entryChange{newName: child})
		f.records-- // one of the journal
		f.record(from, entryChange{oldName: nil})
	}
	child.parent, child.name = to, newName
	return fuse.OK
}

func (f *FS) Access(_ <-chan struct{}, input *fuse.AccessIn) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	const toWrite = 2
	if input.Mask&toWrite != 0 && f.has(ReadOnly, f.nodes[input.NodeId], "") {
		return fuse.EROFS
	}
	return fuse.OK
}

func (f *FS) Open(_ <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	toWrite := input.Flags&syscall.O_ACCMODE != syscall.O_RDONLY
	switch {
	case toWrite && f.has(ReadOnly, n, ""):
		return fuse.EROFS
	case !toWrite && f.has(FailReads, n, ""):
		return fuse.EIO
	}
	return fuse.OK
}

func (f *FS) Read(_ <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	if f.has(FailReads, n, "") {
		return nil, fuse.EIO
	}
	begin := min(input.Offset, uint64(len(n.data)))
	return fuse.ReadResultData(buf[:copy(buf, n.data[begin:])]), fuse.OK
}

func (f *FS) Write(_ <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	if input.WriteFlags&fuse.WRITE_CACHE == 0 {
		if status := f.change(n, "", int(input.Offset)+len(data) > len(n.data)); !status.Ok() {
			return 0, status
		}
	} else if f.crashed {
		return 0, fuse.EIO
	}
	n.write(dataChange{offset: int64(input.Offset), data: bytes.Clone(data)})
	return uint32(len(data)), fuse.OK
}

func (f *FS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (f *FS) Fsync(_ <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	if f.has(FailSyncs, n, "") {
		return fuse.EIO
	}
	if status := f.change(n, "", false); !status.Ok() {
		return status
	}
	f.sync(n)
	return fuse.OK
}

func (f *FS) FsyncDir(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	return f.Fsync(cancel, input)
}

// OpenDir remembers the entries as they are: others may come and go while they are
// being read.
func (f *FS) OpenDir(_ <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[input.NodeId]
	if f.has(FailReads, n, "") {
		return fuse.EIO
	}
	list := []fuse.DirEntry{{Name: ".", Mode: n.mode, Ino: n.number}, {Name: "..", Mode: n.mode, Ino: n.number}}
	for _, name := range sortedNames(n.entries) {
		list = append(list, fuse.DirEntry{Name: name, Mode: n.entries[name].mode, Ino: n.entries[name].number})
	}
	out.Fh = uint64(len(f.listings) + 1)
	for f.listings[out.Fh] != nil {
		out.Fh++
	}
	f.listings[out.Fh] = list
	return fuse.OK
}

func (f *FS) ReadDir(_ <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.listings[input.Fh]
	for _, entry := range slices.Clone(list[min(input.Offset, uint64(len(list))):]) {
		if !out.AddDirEntry(entry) {
			break
		}
	}
	return fuse.OK
}

func (f *FS) ReleaseDir(input *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listings, input.Fh)
}

func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, NameLen: 255, Blocks: 1 << 22, Bfree: 1 << 21, Bavail: 1 << 21, Files: 1 << 20, Ffree: 1 << 19}
	if f.has(Full, f.nodes[fuse.FUSE_ROOT_ID], "") {
		out.Bfree, out.Bavail = 0, 0
	}
	return fuse.OK
}
