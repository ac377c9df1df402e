package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestAFileKeepsItsOtherFieldsAndIsReadableByItsOwnerAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		before := w.file()
		version := w.rotate()
		after := w.file()
		if after["appSecret"] == before["appSecret"] || !strings.HasPrefix(after["appSecret"], "logtotestSecret") {
			t.Error("the secret is the same, or none of the tenant's")
		}
		if after["version"] != version {
			t.Errorf("version %q, want %q", after["version"], version)
		}
		for _, fields := range []map[string]string{before, after} {
			delete(fields, "appSecret")
			delete(fields, "version")
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
		info, err := os.Stat(w.path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if names, err := filepath.Glob(w.path + "*"); err != nil || len(names) != 1 {
			t.Errorf("left in the folder: %q, %v", names, err)
		}
	})
}

func TestAFieldInAnotherCaseIsReplacedToo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.writeFile(map[string]string{"endpoint": w.tenant.URL, "AppID": w.app.ID, "APPSECRET": w.app.Secret})
		w.rotate()
		after := w.file()
		if _, stays := after["APPSECRET"]; stays || after["appSecret"] == w.app.Secret {
			t.Error("the old secret is in the file still")
		}
		w.use(after)
	})
}

func TestAFileBehindALinkIsReplacedAndNotTheLink(t *testing.T) {
	inWorld(t, func(w *world) {
		link := filepath.Join(w.TempDir(), "link.json")
		if err := os.Symlink(w.path, link); err != nil {
			t.Fatal(err)
		}
		before := w.file()["appSecret"]
		real := w.path
		w.path = link
		w.rotate()
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is %v, %v", info.Mode(), err)
		}
		w.path = real
		if w.file()["appSecret"] == before {
			t.Error("the file behind the link is as it was")
		}
	})
}

func TestWhatAWriterThatDiedHasLeftIsOverwritten(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := os.WriteFile(w.path+".pending.tmp", []byte("hal"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.rotate()
		w.use(w.file())
	})
}

// TestReadersOfAFileSeeTheOldOrTheNew reads while a file is replaced many times: each time whole.
func TestReadersOfAFileSeeTheOldOrTheNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.json")
	text := func(n int) []byte {
		return fmt.Appendf(nil, `{"endpoint":"https://example.com","appId":"app","appSecret":"logtotestSecret%s%d"}`, strings.Repeat("x", n), n)
	}
	if err := os.WriteFile(path, text(0), 0o600); err != nil {
		t.Fatal(err)
	}
	place := rotation.File(path)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	reads := make([]int, 2)
	for i := range reads {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := m2m.FileCredentials(path).Credentials(ctx); err != nil {
					t.Error(err)
				}
				reads[i]++
			}
		})
	}
	from := "first"
	for n := range 200 {
		version := fmt.Sprint("v", n)
		if err := errors.Join(place.Put(ctx, version, text(n)), place.Promote(ctx, version, from)); err != nil {
			t.Fatal(err)
		}
		from = version
	}
	stop()
	readers.Wait()
	t.Logf("%v reads", reads)
}

func TestWhatIsWrongWithAFileIsNamedWithoutItsSecret(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text": `"logtotestSecret"`, "broken": `{"appSecret": "logtotestSecret`, "list": `["logtotestSecret"]`,
		"large": `{"appSecret": "logtotestSecret` + strings.Repeat("x", 64<<10) + `"}`, "incomplete": `{"appSecret": "logtotestSecret"}`,
	} {
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := rotation.New(rotation.Config{Place: rotation.File(path)}).Rotate(t.Context(), "one", false)
		if err == nil || strings.Contains(err.Error(), "logtotestSecret") || !strings.Contains(err.Error(), name+".json") {
			t.Errorf("%s: an error %t that names the file without its secret", name, err != nil)
		}
	}
	if _, err := rotation.File(filepath.Join(dir, "none.json")).State(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestSomebodyElsesRotationOfAFileIsNotOverwritten(t *testing.T) {
	inWorld(t, func(w *world) {
		place := rotation.File(w.path)
		if err := w.rotation(nil).Create(w.Context(), "mine"); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"first", "theirs"} {
			if err := place.Promote(w.Context(), "other", from); err == nil {
				t.Errorf("a version that is not pending became current, from %s", from)
			}
		}
		if err := place.Promote(w.Context(), "mine", "theirs"); err == nil {
			t.Error("it became current in the place of a version that is not")
		}
		if _, err := place.Read(w.Context(), "other"); !errors.Is(err, rotation.ErrNoValue) {
			t.Errorf("%v, want ErrNoValue", err)
		}
	})
}
