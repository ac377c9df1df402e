package customdata

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// sealedExt ends the name of what is encrypted here.
const sealedExt = ".sealed"

// keepBefore saves what rows are about to overwrite, before they do: as lines that take it back. What follows may not happen;
// whoever takes it back looks whether it did.
func (p *pipeline) keepBefore(ctx context.Context, lines []planLine) error {
	// Messages of a queue, which have no slot, are many and small, and nobody takes one back.
	if len(lines) == 0 || !p.keeps() {
		return nil
	}
	p.parts++
	return p.keep(ctx, fmt.Sprintf("%06d.ndjson", p.parts), lines...)
}

// keepLate saves what a row is about to overwrite, where that is not what was foreseen: in a file that comes after its batch's.
func (p *pipeline) keepLate(ctx context.Context, i item, line planLine) error {
	if !p.keeps() || i.kept.covers(line) {
		return nil
	}
	return p.keep(ctx, fmt.Sprintf("%06d.writer-%06d.ndjson", i.part, p.late.Add(1)), line)
}

// keep writes lines that take something back. The order of the files' names is that of the writes.
func (p *pipeline) keep(ctx context.Context, part string, lines ...planLine) error {
	var data bytes.Buffer
	for _, line := range lines {
		if err := line.write(&data); err != nil {
			return fmt.Errorf("keeping what users had before: %w", err)
		}
	}
	name := fmt.Sprintf("undo/%s/%04d-%s", p.run.ID, p.run.Attempt, part)
	sealed, err := p.config.seal(&name, data.Bytes())
	if err == nil {
		_, err = p.config.Files.Put(ctx, p.config.Output, name, sealed)
	}
	if err != nil {
		return fmt.Errorf("keeping what users had before: %w", err)
	}
	return nil
}

func (s *syncer) keeps() bool {
	return s.config.Output != "" && s.run.Slot != "" && !s.run.Params.DryRun
}

// begun are the users of whom earlier attempts may have written more than their checkpoint says: what they kept beforehand tells.
func (s *syncer) begun(ctx context.Context) (map[string]bool, error) {
	users := map[string]bool{}
	if s.run.Attempt == 1 || !s.keeps() {
		return users, nil
	}
	parts, err := s.config.Files.List(ctx, s.config.Output, "undo/"+s.run.ID+"/")
	if err != nil {
		return nil, err
	}
	for _, name := range parts {
		if err := s.readPart(ctx, name, func(line planLine, _ []byte) { users[line.ID] = true }); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// inverse is the line that takes a write to a user who has data back.
func inverse(id string, data, set map[string]any, drop []string) planLine {
	line := planLine{ID: id, Data: map[string]any{}, Before: set}
	if set == nil {
		line.Before = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if was, ok := data[key]; ok {
			line.Data[key] = was
		} else {
			line.Remove = append(line.Remove, key)
		}
	}
	for _, key := range drop {
		line.Data[key] = data[key]
	}
	return line
}

// covers tells whether the line takes back all that another one does, to the same.
func (l planLine) covers(other planLine) bool {
	for key, was := range other.Data {
		if kept, ok := l.Data[key]; !ok || !logto.EqualData(kept, was) {
			return false
		}
	}
	return !slices.ContainsFunc(other.Remove, func(key string) bool { return !slices.Contains(l.Remove, key) })
}

// seal encrypts a file if there is a key, and marks its name. AES-GCM takes the name along, so that no file stands for another.
func (c Config) seal(name *string, data []byte) ([]byte, error) {
	if c.SealKey == nil {
		return data, nil
	}
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	*name += sealedExt
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails (crypto/rand)
	return aead.Seal(nonce, nonce, data, []byte(path.Base(*name))), nil
}

func (c Config) unseal(name string, data []byte) ([]byte, error) {
	if !strings.HasSuffix(name, sealedExt) {
		return data, nil
	}
	if c.SealKey == nil {
		return nil, fmt.Errorf("%s is encrypted, and there is no key here: take the run back where it ran", name)
	}
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	if len(data) < aead.NonceSize() {
		return nil, fmt.Errorf("%s is cut off", name)
	}
	opened, err := aead.Open(nil, data[:aead.NonceSize()], data[aead.NonceSize():], []byte(path.Base(name)))
	if err != nil {
		return nil, fmt.Errorf("%s was encrypted with another key, or changed since", name)
	}
	return opened, nil
}

func (c Config) aead() (cipher.AEAD, error) {
	key, err := c.SealKey()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// undo takes a run back, by a plan of its own.
func (s *syncer) undo(ctx context.Context) error {
	if s.done.Plan == nil {
		p := s.planning()
		if err := p.gatherBefore(ctx); err != nil {
			return err
		}
		plan, err := p.write(ctx, func(f *folder) fold { return &undoing{folder: f} })
		if err != nil {
			return err
		}
		if err := s.planned(ctx, plan); err != nil {
			return err
		}
	}
	return s.applyOwn(ctx)
}

// gatherBefore reads what the run kept. A user's last write comes first.
func (p *planner) gatherBefore(ctx context.Context) error {
	run := p.run.Params.Run
	parts, err := p.config.Files.List(ctx, p.config.Output, "undo/"+run+"/")
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("nothing is kept of a run %q in %s: it wrote nothing, or it is longer ago than such things are kept",
			run, join(p.config.Output, "undo"))
	}
	if p.done.Planning == nil {
		p.done.Planning = &planning{}
	}
	p.planner = p
	defer func() { p.planner = nil }()
	for n := p.done.Planning.Parts; n < len(parts); n++ {
		if n > p.done.Planning.Parts && p.run.TimeLeft() <= 0 {
			p.done.Planning.Parts = n
			return p.save(ctx, jobs.ErrUnfinished)
		}
		if err := p.addPart(ctx, parts[n], n); err != nil {
			return err
		}
		p.unsaved.rows++
		if p.sorter.Size() >= chunkBytes {
			p.done.Planning.Parts = n + 1
			if err := p.save(ctx, nil); err != nil {
				return err
			}
		}
	}
	p.done.Planning.Parts = len(parts)
	return p.save(ctx, nil)
}

// addPart takes the lines of a part. A number that falls is their order.
func (p *planner) addPart(ctx context.Context, name string, n int) error {
	order := ^uint64(n << 20)
	return p.readPart(ctx, name, func(line planLine, raw []byte) {
		order--
		p.sort(line.ID, order, raw)
	})
}

// readPart reads what was kept before writes.
func (s *syncer) readPart(ctx context.Context, name string, each func(line planLine, raw []byte)) (err error) {
	file, err := s.config.Files.Open(ctx, name, "", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if data, err = s.config.unseal(name, data); err != nil {
		return err
	}
	for raw := range bytes.Lines(data) {
		var line planLine
		if err := line.read(raw); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		each(line, raw)
	}
	return nil
}

// undoing folds what takes a user's writes back, the last one first, into one line.
type undoing struct {
	*folder
	now, then map[string]any  // what the user has if nobody changed it since, and had before the run; without keys that are not there
	keys      map[string]bool // all of them
}

func (u *undoing) begin() {
	u.now, u.then, u.keys = map[string]any{}, map[string]any{}, map[string]bool{}
}

func (u *undoing) add(value []byte, _ int) error {
	var line planLine
	if err := line.read(value); err != nil {
		return err
	}
	for _, key := range slices.Concat(slices.Sorted(maps.Keys(line.Data)), line.Remove) {
		after, written := line.Before[key]
		then, was := u.then[key]
		switch {
		case !u.keys[key]:
			u.keys[key] = true
			if written {
				u.now[key] = after
			}
		case written != was || written && !logto.EqualData(after, then):
			// Somebody else wrote it since, which is what is restored; or this write was not come to before an attempt ended, and
			// only those before it count.
			continue
		}
		if before, ok := line.Data[key]; ok {
			u.then[key] = before
		} else {
			delete(u.then, key)
		}
	}
	return nil
}

func (u *undoing) end() (planLine, error) { return change(u.now, u.then), nil }
