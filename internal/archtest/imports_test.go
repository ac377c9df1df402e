// Package archtest holds the project to the import table of ARCHITECTURE.md.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/m2mjobs/m2mjobs/"

// Names for groups of imports in the table.
const (
	aws    = "github.com/aws/aws-sdk-go-v2/"
	smithy = "github.com/aws/smithy-go"
	lambda = "github.com/aws/aws-lambda-go/"
	jose   = "github.com/go-jose/go-jose/v4"
	oauth2 = "golang.org/x/oauth2"
	rate   = "golang.org/x/time/rate"
	sync   = "golang.org/x/sync/"
)

// mayImport says what the non-test files of a package import at most, besides the standard library. A name that ends
// with a slash stands for all below it; "*" for everything but the packages of nobodyImports.
var mayImport = map[string][]string{
	"pkg/m2m":                    {oauth2, jose, jose + "/"},
	"pkg/logto":                  {},
	"pkg/logto/logtotest":        {jose, jose + "/", rate},
	"pkg/jobs":                   {lambda},
	"pkg/jobs/bolt":              {"pkg/jobs", "go.etcd.io/bbolt", "go.etcd.io/bbolt/"},
	"pkg/jobs/storetest":         {"pkg/jobs"},
	"pkg/jobs/dynamodb":          {"pkg/jobs", aws, smithy},
	"pkg/jobs/stepfunctions":     {"pkg/jobs", aws, smithy},
	"pkg/m2m/secretsmanager":     {"pkg/m2m", aws, smithy},
	"pkg/m2m/dynamodb":           {"pkg/m2m", aws, smithy},
	"internal/archtest":          {},
	"internal/faults":            {"pkg/m2m"},
	"internal/files":             {aws, smithy},
	"internal/customdata":        {"pkg/jobs", "pkg/logto", "pkg/m2m", "internal/files", "internal/extsort", sync, "github.com/klauspost/compress/zstd"},
	"internal/extsort":           {"github.com/klauspost/compress/s2"},
	"internal/orders":            {"pkg/jobs", "pkg/logto", "pkg/m2m", "internal/files", "internal/shop", sync, rate},
	"internal/shop":              {"pkg/m2m", sync, rate},
	"internal/shop/cdnow":        {"internal/shop"},
	"internal/governor":          {"pkg/jobs", rate},
	"internal/schedule":          {"github.com/hashicorp/cronexpr"},
	"internal/backfill":          {"pkg/jobs", "internal/schedule", sync},
	"internal/doctor":            {"pkg/m2m"},
	"internal/stack":             {"pkg/jobs", "pkg/jobs/dynamodb", "internal/doctor", "internal/schedule", aws, smithy},
	"internal/webhook":           {"pkg/", "internal/customdata", "internal/doctor", "internal/function", "internal/governor", aws, smithy, lambda},
	"internal/rotation":          {"pkg/jobs", "pkg/logto", "pkg/m2m", aws, smithy, lambda},
	"internal/function":          {"pkg/", "internal/", "github.com/caarlos0/env/v11", aws, lambda, sync, rate},
	"internal/demo":              {"pkg/", "internal/"},
	"internal/simulate":          {},
	"functions/sync-custom-data": {"*"},
	"functions/daily-orders":     {"*"},
	"functions/logto-webhook":    {"*"},
	"functions/rotate-secret":    {"*"},
	"cmd/m2mjobs":                {"*"},
	"e2e/emulator":               {aws},
}

// nobodyImports are the ends of the way of the data, and what only tests use.
var nobodyImports = []string{"functions/", "cmd/", "e2e/", "internal/archtest", "internal/faults"}

// noneOfAWS are packages that must not bring in the AWS SDK, not even through others: who uses them outside AWS should
// not have to build it.
var noneOfAWS = []string{"pkg/m2m", "pkg/logto", "pkg/logto/logtotest", "pkg/jobs", "pkg/jobs/bolt"}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string
	Imports    []string // of the non-test files
	Deps       []string // through others, too
}

// packages lists the module's packages by their paths inside it.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...")
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr)
	}
	all := map[string]listed{}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[inside(p.ImportPath)] = p
	}
}

// inside is a path of this module relative to it; others stay as they are.
func inside(path string) string { return strings.TrimPrefix(path, module) }

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// among tells whether a path is one of the list, or below one that ends with a slash.
func among(list []string, path string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		return entry == path || strings.HasSuffix(entry, "/") && strings.HasPrefix(path, entry)
	})
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	all := packages(t)
	for name, p := range all {
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is not in the import table: add it here and in ARCHITECTURE.md", name)
			continue
		}
		for _, path := range p.Imports {
			path = inside(path)
			if _, ours := all[path]; !ours && standard(path) {
				continue
			}
			if among(nobodyImports, path) {
				t.Errorf("%s imports %s, which nothing may import", name, path)
			} else if !slices.Contains(allowed, "*") && !among(allowed, path) {
				t.Errorf("%s imports %s, which the import table does not allow", name, path)
			}
		}
	}
	for name := range mayImport {
		if _, there := all[name]; !there {
			t.Errorf("the import table has %s, which is not there", name)
		}
	}
}

func TestTokensLogtoAndJobsBringInNothingOfTheAWSSDK(t *testing.T) {
	all := packages(t)
	for _, name := range noneOfAWS {
		for _, path := range all[name].Deps {
			if strings.HasPrefix(path, aws) || strings.HasPrefix(path, smithy) {
				t.Errorf("%s brings in %s", name, path)
			}
		}
	}
}

func TestTokensKnowNothingOfJobsAndJobsNothingOfLogto(t *testing.T) {
	all := packages(t)
	for name, never := range map[string]string{
		"pkg/m2m":             "pkg/jobs",
		"pkg/jobs":            "pkg/logto",
		"pkg/logto":           "pkg/m2m",
		"pkg/logto/logtotest": "pkg/logto",
	} {
		if slices.Contains(all[name].Deps, module+never) {
			t.Errorf("%s brings in %s", name, never)
		}
	}
}
