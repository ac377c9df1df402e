package customdata_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// A dry run tells what a sync would do, then the sync does it.
func ExampleJob() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	ann := tenant.AddUser(logtotest.User{ID: "ann", PrimaryEmail: "ann@example.com", CustomData: map[string]any{"plan": "free", "visits": 7}})

	handler := jobs.Handler(customdata.Job(customdata.Config{
		Files: files.New(nil),
		Client: func(context.Context) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: tenant.URL, HTTPClient: tenant.ManagementClient()})
		},
	}), jobs.Config{Log: io.Discard})

	for _, params := range []string{
		`{"dryRun": true, "rows": [{"primaryEmail": "ann@example.com", "customData": {"plan": "gold", "visits": 7}}]}`,
		`{"rows": [{"primaryEmail": "ann@example.com", "customData": {"plan": "gold", "visits": 7}}]}`,
	} {
		answer, err := handler.Invoke(context.Background(), []byte(params))
		if err != nil {
			fmt.Println(err)
			return
		}
		var report jobs.Report
		if err := json.Unmarshal(answer, &report); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(report.Counts, string(report.Result))
		fmt.Println(tenant.CustomData(ann))
	}
	// Output:
	// map[missing:0 rejected:0 rows:1 stale:0 unchanged:0 wouldChange:1] {"action":"sync","dryRun":true,"changes":[{"line":1,"user":"ann","keys":["plan"]}]}
	// map[plan:free visits:7]
	// map[changed:1 missing:0 rejected:0 rows:1 stale:0 unchanged:0] {"action":"sync","dryRun":false}
	// map[plan:gold visits:7]
}

// Rows can also come from a CSV file; the header tells the types.
func ExampleJob_csv() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	tenant.AddUser(logtotest.User{ID: "ann", Username: "ann"})

	handler := jobs.Handler(customdata.Job(customdata.Config{
		Files: files.New(nil),
		Client: func(context.Context) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: tenant.URL, HTTPClient: tenant.ManagementClient()})
		},
	}), jobs.Config{Log: io.Discard})
	answer, err := handler.Invoke(context.Background(), []byte(`{"source": "testdata/users.csv"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range report.Rejected.Some {
		fmt.Printf("line %d %s: %s\n", row.Line, row.Kind, row.Reason)
	}
	fmt.Println(tenant.CustomData("ann"))
	// Output:
	// line 3 missing: no user has this username
	// line 4 rejected: column "visits:int": not a whole number as JSON writes it, such as -12
	// map[address:map[city:Oslo] plan:gold vip:true visits:7]
}

// A host can show how far a run is.
func ExampleConfig_progress() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tenant.Close()
	tenant.AddUser(logtotest.User{ID: "ann", Username: "ann"})

	handler := jobs.Handler(customdata.Job(customdata.Config{
		Files: files.New(nil),
		Client: func(context.Context) (*logto.Client, error) {
			return logto.NewClient(logto.Config{Endpoint: tenant.URL, HTTPClient: tenant.ManagementClient()})
		},
		Progress: func(p customdata.Progress) {
			fmt.Printf("%s: %d rows, %d changed, %d of %d bytes\n", p.Doing, p.Rows, p.Changed, p.Done, p.Size)
		},
	}), jobs.Config{Log: io.Discard})
	if _, err := handler.Invoke(context.Background(), []byte(`{"source": "testdata/users.csv"}`)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// sync: 0 rows, 0 changed, 0 of 124 bytes
	// sync: 3 rows, 1 changed, 124 of 124 bytes
}
