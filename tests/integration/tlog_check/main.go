// tlog_check DIR VKEY [OLD_CHECKPOINT] checks an exported tree (c2sp.org/tlog-tiles) with golang.org/x/mod/sumdb alone: the
// signature of the checkpoint, every entry against the root, and that the tree continues an older checkpoint.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// tree is the head of a checkpoint. x/mod's ParseTree accepts one origin only, so the three lines are read here.
func tree(file string, verifier note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	n, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("the root is no hash")
	}
	t := tlog.Tree{N: size}
	copy(t.Hash[:], root)
	return t, nil
}

// path is tlog-tiles': x/mod's has the height in it.
func path(kind string, t tlog.Tile) string {
	parts := strings.SplitN(t.Path(), "/", 4) // tile/8/L/...
	return filepath.Join("tile", kind, parts[3])
}

type files struct{ dir string }

func (f files) Height() int { return height }

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, t := range tiles {
		bytes, err := os.ReadFile(filepath.Join(f.dir, path(strconv.Itoa(t.L), t)))
		if err != nil && t.W != 1<<height { // the partial tile has become a full one
			full := t
			full.W = 1 << height
			bytes, err = os.ReadFile(filepath.Join(f.dir, path(strconv.Itoa(t.L), full)))
			if len(bytes) > t.W*tlog.HashSize {
				bytes = bytes[:t.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

// entries are those of one bundle.
func (f files) entries(number int64, width int) ([][]byte, error) {
	t := tlog.Tile{H: height, L: 0, N: number, W: width}
	bytes, err := os.ReadFile(filepath.Join(f.dir, path("entries", t)))
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for len(bytes) > 0 {
		if len(bytes) < 2 || len(bytes) < 2+int(binary.BigEndian.Uint16(bytes)) {
			return nil, errors.New("a bundle is cut")
		}
		end := 2 + int(binary.BigEndian.Uint16(bytes))
		all = append(all, bytes[2:end])
		bytes = bytes[end:]
	}
	if len(all) != width {
		return nil, fmt.Errorf("a bundle has %d entries, not %d", len(all), width)
	}
	return all, nil
}

func run() error {
	dir, vkey := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	head, err := tree(filepath.Join(dir, "checkpoint"), verifier)
	if err != nil {
		return err
	}
	f := files{dir}
	hashes := tlog.TileHashReader(head, f)
	for first := int64(0); first < head.N; first += 1 << height {
		width := 1 << height
		if head.N-first < int64(width) {
			width = int(head.N - first)
		}
		entries, err := f.entries(first>>height, width)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			index := first + int64(i)
			proof, err := tlog.ProveRecord(head.N, index, hashes)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, head.N, head.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("record %d: %w", index, err)
			}
		}
	}
	if len(os.Args) > 3 {
		old, err := tree(os.Args[3], verifier)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(head.N, old.N, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, head.N, head.Hash, old.N, old.Hash); err != nil {
			return err
		}
		fmt.Printf("continues the checkpoint of %d\n", old.N)
	}
	fmt.Printf("%d records lead to the signed root\n", head.N)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tlog_check:", err)
		os.Exit(1)
	}
}
