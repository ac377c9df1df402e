package doctor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
)

// tried is a check that came to that error.
func tried(err error) func(context.Context) doctor.Finding {
	return func(context.Context) doctor.Finding { return doctor.Failed("see to it", "%v", err) }
}

func ExampleExamine() {
	lines := doctor.Examine(context.Background(), []doctor.Check{
		{Name: "bus", What: "the bus is there", Do: func(context.Context) doctor.Finding { return doctor.Found("it is") }},
		{Name: "table", What: "the table is there", Do: tried(errors.New("no such table"))},
		{Name: "runs", What: "runs are there", Needs: []string{"bus", "table"}, Do: func(context.Context) doctor.Finding { return doctor.Found("12") }},
	})
	for _, line := range lines {
		fmt.Printf("%s: %s (%s)\n", line.Check, line.Result, line.Found)
		if line.Mend != "" {
			fmt.Println("  mend:", line.Mend)
		}
	}
	// Output:
	// bus: ok (it is)
	// table: fail (no such table)
	//   mend: see to it
	// runs: not tried (not tried, because table failed)
}
