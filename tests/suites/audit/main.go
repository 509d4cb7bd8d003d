// Verifies a log that Tidegate wrote with nothing but Go's golang.org/x/mod/sumdb, of which no
// line is ours: the checkpoint's signature, every record's inclusion, the whole tree, consistency
// with earlier checkpoints, and receipts.
//
//	verify DIRECTORY KEY [-since CHECKPOINT]... [-receipt FILE.tlog-proof]...
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // a tile has 2^8 hashes

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: verify DIRECTORY KEY [-since CHECKPOINT]... [-receipt FILE]...")
	}
	directory, rest := args[0], args[2:]
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := open(text, verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	reader := tlog.TileHashReader(tree, tiles{directory})
	if err := records(directory, tree, reader); err != nil {
		return err
	}
	fmt.Printf("%d records are in the tree %v\n", tree.N, tree.Hash)
	for ; len(rest) >= 2; rest = rest[2:] {
		text, err := os.ReadFile(rest[1])
		if err != nil {
			return err
		}
		check := map[string]func() error{
			"-since":   func() error { return since(text, verifier, tree, reader) },
			"-receipt": func() error { return receipt(text, verifier) },
		}[rest[0]]
		if check == nil {
			return fmt.Errorf("unknown: %s", rest[0])
		}
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", rest[1], err)
		}
	}
	return nil
}

// open verifies a checkpoint and reads its three lines.
func open(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// records computes the tree again from the entries, and proves each of them from the tiles.
func records(directory string, tree tlog.Tree, reader tlog.HashReader) error {
	var stored []tlog.Hash
	own := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for index := int64(0); index < tree.N; {
		entries, err := bundle(directory, index>>height, tree.N)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			hashes, err := tlog.StoredHashes(index, entry, own)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return fmt.Errorf("record %d: %w", index, err)
			}
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
			if err != nil {
				return fmt.Errorf("record %d: %w", index, err)
			}
			index++
		}
	}
	root, err := tlog.TreeHash(tree.N, own)
	if err == nil && root != tree.Hash {
		err = fmt.Errorf("the records have the root %v, signed is %v", root, tree.Hash)
	}
	return err
}

func bundle(directory string, number, size int64) ([][]byte, error) {
	width := min(size-number<<height, 1<<height)
	tile := tlog.Tile{H: height, L: -1, N: number, W: int(width)}
	path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(directory, path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s is torn", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries, data = append(entries, data[2:end]), data[end:]
	}
	if int64(len(entries)) != width {
		return nil, fmt.Errorf("%s has %d entries, not %d", path, len(entries), width)
	}
	return entries, nil
}

// since proves that the log begins with what an earlier checkpoint stands for.
func since(text []byte, verifier note.Verifier, tree tlog.Tree, reader tlog.HashReader) error {
	old, err := open(text, verifier)
	if err != nil {
		return err
	}
	if old.N == 0 {
		fmt.Println("every log begins with nothing")
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	fmt.Printf("the first %d records are those of the earlier checkpoint\n", old.N)
	return nil
}

// receipt verifies a c2sp.org/tlog-proof@v1 that holds its record.
func receipt(text []byte, verifier note.Verifier) error {
	head, checkpoint, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a receipt")
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := open(checkpoint, verifier)
	if err != nil {
		return err
	}
	err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(record))
	if err == nil {
		fmt.Printf("the receipt proves record %d\n", index)
	}
	return err
}

// tiles reads a log's directory for package tlog, whose own paths are those of sum.golang.org.
type tiles struct{ directory string }

func (t tiles) Height() int                     { return height }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.directory, path))
		if full, partial := strings.CutSuffix(path, ".p/"+strconv.Itoa(tile.W)); partial && errors.Is(err, fs.ErrNotExist) {
			// A partial tile may be gone once the full one is there.
			data, err = os.ReadFile(filepath.Join(t.directory, full))
			data = data[:min(len(data), tile.W*tlog.HashSize)]
		}
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}
