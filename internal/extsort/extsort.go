// Package extsort sorts more records than memory holds: they are gathered into chunks that are each sorted and written out,
// and read back as one sorted sequence.
//
//	var s extsort.Sorter
//	for … {
//		s.Add(key, value)
//		if s.Size() >= limit {
//			err := s.Chunk(file)
//		}
//	}
//	for record, err := range extsort.Merge(chunks...) { … }
//
// Memory: what Size says while gathering, about 150 kB for each chunk while merging. Chunks are compressed, by S2, which needs
// little memory to read many side by side.
package extsort

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Record is a key, by whose bytes records are sorted, and what belongs to it. Records of equal keys stay in the order in which
// they were added.
type Record struct{ Key, Value []byte }

// Sorter gathers the records of a chunk. The zero value has none. It is not safe for concurrent use.
type Sorter struct {
	bytes   []byte // all keys and values
	records []span
}

// span is where a record stands in Sorter.bytes: begin to key is the key, key to end the value.
type span struct{ begin, key, end int }

// Add copies a record into the chunk.
func (s *Sorter) Add(key, value []byte) {
	begin := len(s.bytes)
	s.bytes = append(append(s.bytes, key...), value...)
	s.records = append(s.records, span{begin, begin + len(key), len(s.bytes)})
}

// Size is how many bytes the chunk's records hold.
func (s *Sorter) Size() int { return len(s.bytes) + 24*len(s.records) }

// block of the compression: small, because as much is held for each chunk while merging.
const block = 64 << 10

// Chunk writes the records, sorted, and lets go of them. After an error the sorter is as it was.
func (s *Sorter) Chunk(w io.Writer) error {
	slices.SortStableFunc(s.records, func(a, b span) int {
		return bytes.Compare(s.bytes[a.begin:a.key], s.bytes[b.begin:b.key])
	})
	packed := s2.NewWriter(w, s2.WriterBlockSize(block), s2.WriterConcurrency(1)) // which starts no goroutines
	var head []byte
	for _, r := range s.records {
		head = binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(r.key-r.begin)), uint64(r.end-r.key))
		_, err := packed.Write(head)
		if err == nil {
			_, err = packed.Write(s.bytes[r.begin:r.end])
		}
		if err != nil {
			return fmt.Errorf("writing a chunk of records: %w", err)
		}
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("writing a chunk of records: %w", err)
	}
	s.bytes, s.records = s.bytes[:0], s.records[:0]
	return nil
}

// Merge yields the records of chunks in the order of their keys; of equal ones, those of an earlier chunk first. An error is
// the last that it yields. A record's bytes are valid until the next one.
func Merge(chunks ...io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var open queue
		for i, r := range chunks {
			c := newCursor(i, r)
			switch err := c.next(); {
			case err == io.EOF:
			case err != nil:
				yield(Record{}, err)
				return
			default:
				open = append(open, c)
			}
		}
		heap.Init(&open)
		for len(open) > 0 {
			first := open[0]
			if !yield(first.record, nil) {
				return
			}
			switch err := first.next(); {
			case err == io.EOF:
				heap.Pop(&open)
			case err != nil:
				yield(Record{}, err)
				return
			default:
				heap.Fix(&open, 0)
			}
		}
	}
}

// cursor stands at a record of a chunk.
type cursor struct {
	number int
	r      *bufio.Reader
	record Record
	buf    []byte
}

func newCursor(number int, r io.Reader) *cursor {
	unpacked := s2.NewReader(r, s2.ReaderMaxBlockSize(block), s2.ReaderAllocBlock(block))
	return &cursor{number: number, r: bufio.NewReaderSize(unpacked, 4<<10)}
}

// maxRecord is more than any record has: a length above it is not one.
const maxRecord = 1 << 30

// next goes to the next record, or ends with io.EOF.
func (c *cursor) next() error {
	key, err := binary.ReadUvarint(c.r)
	if err == io.EOF {
		return err
	}
	value, valueErr := binary.ReadUvarint(c.r)
	if err = errors.Join(err, valueErr); err == nil && (key > maxRecord || value > maxRecord) {
		err = errors.New("a record's length is none")
	}
	if err == nil {
		c.buf = slices.Grow(c.buf[:0], int(key+value))[:key+value]
		_, err = io.ReadFull(c.r, c.buf)
	}
	if err != nil {
		return fmt.Errorf("reading a chunk of records: %w", err)
	}
	c.record = Record{c.buf[:key], c.buf[key:]}
	return nil
}

// queue is the chunks with records left, the one with the least first (container/heap).
type queue []*cursor

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(q[i].record.Key, q[j].record.Key), cmp.Compare(q[i].number, q[j].number)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(c any)   { *q = append(*q, c.(*cursor)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}
