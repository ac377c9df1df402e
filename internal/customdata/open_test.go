package customdata

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/internal/files"
)

// pack compresses text into an archive of two parts, one after the other.
func pack(t testing.TB, packed, text string, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	part := func(text string) {
		var w io.WriteCloser
		var err error
		switch packed {
		case "":
			out.WriteString(text)
			return
		case ".gz":
			w = gzip.NewWriter(&out)
		default:
			w, err = zstd.NewWriter(&out, append(options, zstd.WithEncoderConcurrency(1))...)
		}
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	part(text[:len(text)/2])
	part(text[len(text)/2:])
	return out.Bytes()
}

// inS3 is an S3 with the bucket "shop", and what was asked of it.
type inS3 struct {
	mu      sync.Mutex
	objects map[string][]byte
	ranges  []string
}

func newS3(t *testing.T) (*inS3, Config) {
	t.Helper()
	b := &inS3{objects: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		data, ok := b.objects[strings.TrimPrefix(r.URL.Path, "/shop/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		b.ranges = append(b.ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, len(data)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "eu-north-1", RetryMaxAttempts: 1, HTTPClient: server.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
	return b, Config{Files: files.New(func(context.Context) (files.S3, error) { return client, nil })}
}

func (b *inS3) put(name string, data []byte) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[name] = data
	return "s3://shop/" + name
}

// onDisk writes a file and tells where.
func onDisk(t testing.TB, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var local = Config{Files: files.New(nil)}

// entriesFrom are all entries from a position on, and the version.
func entriesFrom(ctx context.Context, c Config, source, version string, from position) (entries []entry, _ string, err error) {
	rows, err := c.open(ctx, Params{Source: source}, version, from)
	if err != nil {
		return nil, "", err
	}
	entries, err = drain(rows)
	return entries, rows.version, errors.Join(err, rows.close())
}

// texts makes files of what a row can begin, hold and end with.
func texts(csv bool) *rapid.Generator[string] {
	pieces := []string{
		`{"id":"u1","customData":{"a":1}}`, `{"primaryEmail":"a@x","customData":{"a":"ä\n"}}`, "oops", " ", "\n", "\n", "\n", "\r\n", "\r", "\xff", "\xef\xbb\xbf",
		strings.Repeat("x", 70_000), // longer than what is read at once
	}
	if csv {
		pieces = []string{"u1", "u2,1", ",", ",", `"`, `"`, `""`, `"a` + "\n" + `b"`, `"two` + "\r\n\n" + `lines"`, " ", "\n", "\n", "\r\n", "\r", "ä", "\xff"}
	}
	return rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 30).Draw(t, "pieces"), "")
		if csv {
			text = rapid.SampledFrom([]string{"id,a\n", "\xef\xbb\xbfid,a\r\n", "\n\r\n\"id\",\"a\"\n"}).Draw(t, "header") + text
		} else if rapid.Bool().Draw(t, "mark") {
			text = "\xef\xbb\xbf" + text
		}
		return text
	})
}

func TestReadingGoesOnAfterAnyEntryWithExactlyTheOthers(t *testing.T) {
	bucket, cloud := newS3(t)
	dir := t.TempDir()
	for _, name := range []string{"rows.ndjson", "rows.csv", "rows.jsonl.gz", "rows.csv.gz", "rows.ndjson.zst", "rows.csv.zst"} {
		f, err := formatOf(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				data := pack(t, f.packed, texts(f.csv).Draw(rt, "text"))
				c, source := local, filepath.Join(dir, name)
				if rapid.Bool().Draw(rt, "in S3") {
					c, source = cloud, bucket.put(name, data)
				} else if err := os.WriteFile(source, data, 0o600); err != nil {
					rt.Fatal(err)
				}
				whole, version, err := entriesFrom(t.Context(), c, source, "", position{})
				if err != nil {
					rt.Fatal(err)
				}
				before := position{}
				few := max(1, len(whole)/4)
				for i, e := range whole {
					if e.line <= before.Line || e.end.Line < e.line || e.end.Offset <= before.Offset {
						rt.Fatalf("entry %d is in line %d, after %+v, and ends at %+v", i, e.line, before, e.end)
					}
					before = e.end
					if i%few != 0 && i != len(whole)-1 {
						continue
					}
					rest, _, err := entriesFrom(t.Context(), c, source, version, e.end)
					if err != nil {
						rt.Fatal(err)
					}
					if diff := cmp.Diff(whole[i+1:], append([]entry{}, rest...), cmp.AllowUnexported(entry{}, row{}), cmp.Comparer(bytes.Equal)); diff != "" {
						rt.Fatalf("after entry %d, at %+v (-want +got):\n%s", i, e.end, diff)
					}
				}
			})
		})
	}
}

func TestWhatIsDoneIsNotReadAgain(t *testing.T) {
	bucket, c := newS3(t)
	var text strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&text, "u%06d,\"%0100d\"\n", i, i)
	}
	source := bucket.put("rows.csv", []byte("id,a\n"+text.String()))
	end := position{Offset: int64(len("id,a\n") + text.Len() - 2*len("u000000,\"\"\n") - 200), Line: 199_999}
	entries, _, err := entriesFrom(t.Context(), c, source, "", end)
	if err != nil || len(entries) != 2 || entries[0].line != 200_000 || entries[0].row.value != "u199998" {
		t.Fatalf("entries %+v, %v", entries, err)
	}
	want := []string{fmt.Sprintf("bytes=%d-%d", end.Offset, end.Offset+8<<20-1), "bytes=0-8388607"} // and the header
	if diff := cmp.Diff(want, bucket.ranges); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestNameThatTellsNoFormatShowsWhatIsAccepted(t *testing.T) {
	for _, name := range []string{"rows", "rows.txt", "rows.gz", "rows.zst", "rows.xlsx.gz", "rows.csv.zip", "rows.csv.gz.gz", "rows.csv.bz2"} {
		_, err := local.open(t.Context(), Params{Source: name}, "", position{})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), ".ndjson, .jsonl or .csv, each perhaps with .gz or .zst after it") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := formatOf("rows.json.gz"); err == nil || !strings.Contains(err.Error(), "jq -c") {
		t.Errorf("rows.json.gz: error %v", err)
	}
	if f, err := formatOf("s3://shop/ROWS.CSV.GZ"); err != nil || !f.csv || f.packed != ".gz" {
		t.Errorf("capitals: %+v, %v", f, err)
	}
}

func TestArchiveThatCanNotBeReadSaysWhatToDo(t *testing.T) {
	rows := strings.Repeat(`{"id":"u1","customData":{"a":"`+strings.Repeat("ab", 50)+`"}}`+"\n", 5000)
	gz, zst := pack(t, ".gz", rows), pack(t, ".zst", rows)
	wide := pack(t, ".zst", strings.Repeat(rows, 40), zstd.WithWindowSize(32<<20))
	damaged := func(data []byte) []byte {
		data = bytes.Clone(data)
		for i := range 20 {
			data[len(data)/3+i] ^= 0x5a
		}
		return data
	}
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"cut.ndjson.gz", gz[:len(gz)-9], "the archive was cut off, or is still being written"},
		{"cut.ndjson.zst", zst[:len(zst)-9], "the archive was cut off, or is still being written"},
		{"header.ndjson.gz", gz[:5], "the archive was cut off, or is still being written"},
		{"empty.ndjson.gz", nil, "the archive was cut off, or is still being written"},
		{"empty.ndjson.zst", nil, "the archive was cut off, or is still being written"},
		{"plain.ndjson.gz", []byte(rows), "it is not what its name says"},
		{"plain.ndjson.zst", []byte(rows), "it is not what its name says"},
		{"after.ndjson.gz", append(bytes.Clone(gz), rows...), "something else stands after the archive"},
		{"after.ndjson.zst", append(bytes.Clone(zst), rows...), "something else stands after the archive"},
		{"damaged.ndjson.gz", damaged(gz), "the archive is damaged: write it again"},
		{"damaged.ndjson.zst", damaged(zst), "the archive is damaged: write it again"},
		{"wide.ndjson.zst", wide, "it needs more than 8 MiB of memory: compress it again without --long and --ultra"},
		{"checkpoint.ndjson.gz", gz, "checkpoint.ndjson.gz already"},
	} {
		source, from := onDisk(t, test.name, test.data), position{}
		if strings.HasPrefix(test.name, "checkpoint") {
			from.Offset = int64(len(rows) + 1)
		}
		_, _, err := entriesFrom(t.Context(), local, source, "", from)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.name) {
			t.Errorf("%s: error %v, want it to say %q", test.name, err, test.want)
		}
	}
}
