package function_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestTheTenantGetsWhatTheBudgetAllows(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	var rows []string
	for i := range 24 {
		id := fmt.Sprintf("u%011d", 100+i)
		s.tenant.AddUser(logtotest.User{ID: id})
		rows = append(rows, fmt.Sprintf(`{"id":%q,"customData":{"plan":"pro"}}`, id))
	}
	s.environment["LOGTO_BUDGET"] = "50/s"
	var log bytes.Buffer
	handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = &log })
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	answer, err := handler.Invoke(t.Context(), []byte(`{"rows":[`+strings.Join(rows, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	var report jobs.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		t.Fatal(err)
	}
	// A token, a search and 24 writes: all but the first four wait for a fiftieth of a second.
	if took := time.Since(began); took < 380*time.Millisecond || report.PacedMS == 0 || report.Counts["changed"] != 24 {
		t.Errorf("it took %v, of which requests waited %d ms", took, report.PacedMS)
	}
	if !strings.Contains(log.String(), `"msg":"the tenant's budget","`) || !strings.Contains(log.String(), `"perSecond":50`) {
		t.Errorf("the log does not say how much of the budget was used: %s", &log)
	}
}

func TestTheShopIsNoPartOfTheBudget(t *testing.T) {
	orders, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	world, err := demo.Start(t.TempDir(), orders)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	}()
	environment := world.Environment(function.DailyOrders)
	environment["LOGTO_BUDGET"] = "0.001/s"
	handler, err := function.Handler(function.DailyOrders, environment, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	var requests int64
	for day := range 4 {
		answer, err := handler.Invoke(t.Context(), fmt.Appendf(nil, `{"date":"1997-03-2%d"}`, day))
		if err != nil {
			t.Fatal(err)
		}
		var report jobs.Report
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatal(err)
		}
		if requests += report.Requests; report.PacedMS != 0 {
			t.Errorf("requests to the shop waited %d ms", report.PacedMS)
		}
	}
	if requests < 8 {
		t.Errorf("%d requests to the shop: too few to tell", requests)
	}
}

func TestAPlanSaysHowLongItTakesAtTheBudget(t *testing.T) {
	s := newSurroundings(t, logtotest.Config{}, true)
	s.environment["LOGTO_BUDGET"] = "10%"
	rows := filepath.Join(t.TempDir(), "rows.ndjson")
	if err := os.WriteFile(rows, []byte(`{"id":"u00000000001","customData":{"plan":"pro"}}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	handler, err := function.Handler(function.SyncCustomData, s.environment, func(c *jobs.Config) { c.Log = io.Discard })
	if err != nil {
		t.Fatal(err)
	}
	answer, err := handler.Invoke(t.Context(), fmt.Appendf(nil, `{"action":"plan","source":%q}`, rows))
	if err != nil {
		t.Fatal(err)
	}
	// A search and a write, at two a second.
	if !bytes.Contains(answer, []byte(`"seconds":1,`)) {
		t.Errorf("the report does not say how long: %s", answer)
	}
}
