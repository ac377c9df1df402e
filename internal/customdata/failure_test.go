package customdata_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// oneByOne makes the order of requests certain, but that rows are read while others are written.
func oneByOne(s *stage) { s.config.Writers, s.config.Lookups = 1, 1 }

// each makes a row for each of n users.
func each(n int, format string) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(format, id(i))
	}
	return lines
}

func TestRowThatLogtoRefusesIsRejectedWithItsReason(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(3, nil)
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 1, Status: http.StatusUnprocessableEntity, Body: `{"code":"user.some_rule","message":"Not like this."}`})
	report := s.sync(rows(append(each(3, `{"id":"%s","customData":{"a":1}}`), `{"id":"u001","customData":{"b":1}}`)...))
	checkCounts(t, report, counts(4, 3, 0, 0, 0, 1))
	kept := s.kept(report)
	if len(kept) != 1 || kept[0].Line != 2 || !strings.Contains(kept[0].Reason, "Logto refused it: ") ||
		!strings.Contains(kept[0].Reason, "user.some_rule: Not like this.") {
		t.Errorf("kept %+v", kept)
	}
	// The user's next row stands for itself.
	checkData(t, s, "u001", object{"b": number(1)})
}

func TestNotFoundThatIsNotOfTheUserIsARefusal(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(3, nil)
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 1, Status: http.StatusNotFound, Body: "Not Found"})
	checkCounts(t, s.sync(rows(each(3, `{"id":"%s","customData":{"a":1}}`)...)), counts(3, 2, 0, 0, 0, 1))
}

func TestUserDeletedMeanwhileIsMissing(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(2, object{"trial": true})
	s.before = func(r request) {
		if r.route == merge || r.route == getUser {
			s.tenant.DeleteUser("u000")
			s.tenant.DeleteUser("u001")
		}
	}
	report := s.sync(rows(`{"id":"u000","customData":{"a":1}}`, `{"id":"u001","remove":["trial"]}`, `{"id":"u000","customData":{"b":1}}`))
	checkCounts(t, report, counts(3, 0, 0, 0, 3, 0))
	if n := s.tenant.Requests(merge); n != 1 {
		t.Errorf("%d writes of a user that is gone", n)
	}
}

func TestRowsAfterOneThatDidNotGoThroughAreNotWrittenForThatUser(t *testing.T) {
	for name, fault := range map[string]logtotest.Fault{
		"503": {Route: merge, After: 1, Status: http.StatusServiceUnavailable},
		"429": {Route: merge, After: 1, Status: http.StatusTooManyRequests},
		// Twice, because net/http asks once more by itself where a kept connection breaks.
		"no answer":      {Route: merge, After: 1, Times: 2, Reset: true},
		"an answer lost": {Route: merge, After: 1, Times: 2, ResetAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, oneByOne)
			s.users(3, nil)
			s.tenant.Inject(fault)
			lines := append(each(3, `{"id":"%s","customData":{"a":1}}`),
				`{"id":"u001","customData":{"a":2}}`, `{"primaryEmail":"u001@example.com","customData":{"b":2}}`, `{"id":"u002","customData":{"a":2}}`)
			report := s.sync(rows(lines...))
			checkCounts(t, report, counts(6, 3, 0, 0, 0, 3))
			kept := s.kept(report)
			if len(kept) != 3 || kept[0].Line != 2 || !strings.HasPrefix(kept[0].Reason, "not written, sync it again: ") {
				t.Fatalf("kept %+v", kept)
			}
			for i, line := range []int{4, 5} {
				if k := kept[i+1]; k.Line != line || !strings.HasPrefix(k.Reason, "not written, because line 2 of the same user could not be") {
					t.Errorf("kept %+v", k)
				}
			}
			if got := s.tenant.CustomData("u001"); got["b"] != nil || got["a"] == number(2) {
				t.Errorf("later rows of the user were written: %v", got)
			}
			// What was kept can be synced again as it is.
			again := rows()
			for _, k := range kept {
				again = rows(append(texts(again), string(k.Row))...)
			}
			s.sync(again)
			checkData(t, s, "u001", object{"a": number(2), "b": number(2)})
		})
	}
}

func TestRowsOfLaterBatchesAreNotWrittenForAUserWhoseRowFailed(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		t.Run(fmt.Sprint("in another attempt ", resumed), func(t *testing.T) {
			s := newStage(t, oneByOne)
			s.users(250, nil)
			s.tenant.Inject(logtotest.Fault{Route: merge, After: 1, Status: http.StatusServiceUnavailable})
			if resumed {
				s.tenant.Inject(logtotest.Fault{Route: search, After: 1, Status: http.StatusInternalServerError})
			}
			lines := append(each(250, `{"id":"%s","customData":{"a":1}}`), `{"id":"u001","customData":{"a":2}}`, `{"id":"u002","customData":{"a":2}}`)
			report, err := s.invoke(t.Context(), rows(lines...))
			if resumed {
				if err == nil || report.Counts["rows"] != 100 {
					t.Fatalf("error %v, counts %v", err, report.Counts)
				}
				report, err = s.invoke(t.Context(), rows(lines...))
			}
			if err != nil {
				t.Fatal(err)
			}
			checkCounts(t, report, counts(252, 250, 0, 0, 0, 2))
			kept := s.kept(report)
			if len(kept) != 2 || kept[0].Line != 2 || kept[1].Line != 251 || !strings.HasPrefix(kept[1].Reason, "not written, because line 2 of the same user could not be") {
				t.Fatalf("kept %+v", kept)
			}
			checkData(t, s, "u002", object{"a": number(2)})
			// What was kept can be synced again as it is: the newest value counts.
			s.sync(rows(string(kept[0].Row), string(kept[1].Row)))
			checkData(t, s, "u001", object{"a": number(2)})
		})
	}
}

func TestMoreFailedUsersThanACheckpointHoldsFailTheRun(t *testing.T) {
	s := newStage(t, oneByOne)
	const n = 2100
	s.users(n, nil)
	// Every second write fails, so that no batch is hopeless.
	for i := range n / 2 {
		s.tenant.Inject(logtotest.Fault{Route: merge, After: i + 1, Status: http.StatusServiceUnavailable})
	}
	report, err := s.invoke(t.Context(), rows(each(n, `{"id":"%s","customData":{"a":1}}`)...))
	if err == nil || !strings.Contains(err.Error(), "is the row of another user, after 1000, whose write did not go through: run it again later") {
		t.Fatalf("error %v", err)
	}
	if report.Counts["rows"] != 2001 || report.Counts["rejected"] != 1000 {
		t.Errorf("counts %v", report.Counts)
	}
}

func texts(params map[string]any) []string {
	var list []string
	for _, row := range params["rows"].([]json.RawMessage) {
		list = append(list, string(row))
	}
	return list
}

func TestTenantThatGoesDownFailsTheRunWhichGoesOnThereAndRejectsNoRow(t *testing.T) {
	s := newStage(t)
	s.users(250, nil)
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 99, Times: -1, Status: http.StatusServiceUnavailable})
	params := rows(append([]string{`{"id":"nobody","customData":{"a":1}}`}, each(250, `{"id":"%s","customData":{"a":1}}`)...)...)
	report, err := s.invoke(t.Context(), params)
	if !errors.Is(err, logto.ErrUnavailable) || !strings.Contains(err.Error(), "on did not go through (8 in a row), run it again later") {
		t.Fatalf("error %v", err)
	}
	if n := s.tenant.Requests(merge); n > 99+40 { // as many writers as there are may be about to fail
		t.Errorf("%d writes: a tenant that is down was asked on and on", n)
	}
	if n := report.Counts["rows"]; n < 60 || n > 100 || report.Counts["rejected"] != 0 {
		t.Errorf("counts %v", report.Counts)
	}
	s.tenant.ClearFaults()
	searches, left := s.tenant.Requests(search), 251-report.Counts["rows"]
	report = s.sync(params)
	// What was written after the first row that failed is unchanged now.
	if c := report.Counts; c["rows"] != 251 || c["changed"]+c["unchanged"] != 250 || c["unchanged"] > 40 || c["rejected"] != 0 {
		t.Errorf("counts %v", c)
	}
	if n := s.tenant.Requests(search) - searches; n != (int(left)+99)/100 {
		t.Errorf("%d batches were read again, want those after the checkpoint", n)
	}
	if kept := s.kept(report); len(kept) != 1 || kept[0].Line != 1 {
		t.Errorf("kept %+v", kept)
	}
}

func TestOneWriteThatIsAllOfABatchAndFailsIsTheRunsFailure(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	s.tenant.Inject(logtotest.Fault{Route: merge, Status: http.StatusServiceUnavailable})
	params := rows(`{"id":"u000","customData":{"a":1}}`)
	if report, err := s.invoke(t.Context(), params); !errors.Is(err, logto.ErrUnavailable) || report.Rejected != nil {
		t.Errorf("rejected %+v, error %v", report.Rejected, err)
	}
	checkCounts(t, s.sync(params), counts(1, 1, 0, 0, 0, 0))
}

func TestFailedReadFailsTheRun(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	s.tenant.Inject(logtotest.Fault{Route: search, Status: http.StatusInternalServerError})
	_, err := s.invoke(t.Context(), rows(`{"primaryEmail":"u000@example.com","customData":{"a":1}}`))
	if !errors.Is(err, logto.ErrUnavailable) || !strings.Contains(err.Error(), "reading the users of lines 1 to 1 by primaryEmail") {
		t.Errorf("error %v", err)
	}
}

func TestRefusalThatConcernsEveryRowEndsTheRun(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		is     error
	}{"401": {http.StatusUnauthorized, logto.ErrUnauthorized}, "403": {http.StatusForbidden, logto.ErrForbidden}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, oneByOne)
			s.users(50, nil)
			s.tenant.Inject(logtotest.Fault{Route: merge, After: 3, Times: -1, Status: test.status})
			report, err := s.invoke(t.Context(), rows(each(50, `{"id":"%s","customData":{"a":1}}`)...))
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), "writing the user of line 4") {
				t.Errorf("error %v", err)
			}
			if n := s.tenant.Requests(merge); n != 4 || report.Rejected != nil {
				t.Errorf("%d writes, rejected %+v", n, report.Rejected)
			}
		})
	}
}

func TestMissingScopeEndsTheRunWithItsMend(t *testing.T) {
	s := newStage(t, func(s *stage) {
		app := s.tenant.AddApp("no-role")
		source, err := m2m.NewSource(m2m.Config{
			Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: s.tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
			ResourceOf:  logto.ManagementResource,
			Scopes:      []string{"all"},
			HTTPClient:  s.tenant.Client(),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.useClient(&m2m.Transport{Source: source, Base: s.tenant.Client().Transport})
	})
	_, err := s.invoke(t.Context(), rows(`{"id":"u000","customData":{"a":1}}`))
	var scope *m2m.ScopeError
	if !errors.As(err, &scope) {
		t.Errorf("error %v", err)
	}
}

func TestTokenThatIsLostInTheMiddleEndsTheRun(t *testing.T) {
	s := newStage(t, withSource, oneByOne)
	s.users(10, nil)
	// The token has to be got again for a write, and the tenant gives none.
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 2, Times: -1, Status: http.StatusUnauthorized})
	_, err := s.invoke(t.Context(), rows(each(10, `{"id":"%s","customData":{"a":1}}`)...))
	if !errors.As(err, new(*m2m.RejectedError)) {
		t.Errorf("error %v", err)
	}
}

func TestUserWhoseDataWouldGrowTooLargeIsRejected(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"trial": true, "big": strings.Repeat("x", 900_000)})
	report := s.sync(rows(fmt.Sprintf(`{"id":"u000","customData":{"more":"%s"},"remove":["trial"]}`, strings.Repeat("y", 200_000))))
	checkCounts(t, report, counts(1, 0, 0, 0, 0, 1))
	if kept := s.kept(report); len(kept) != 1 || !strings.Contains(kept[0].Reason, "what the user would have then can't be stored") {
		t.Errorf("kept %.300v", kept)
	}
}

func TestClientThatCanNotBeMadeFailsTheRun(t *testing.T) {
	s := newStage(t, func(s *stage) {
		s.config.Client = func(context.Context) (*logto.Client, error) { return nil, errors.New("the secret is not there") }
	})
	_, err := s.invoke(t.Context(), rows(`{"id":"u000","customData":{"a":1}}`))
	if err == nil || !strings.Contains(err.Error(), "the secret is not there") {
		t.Errorf("error %v", err)
	}
}

func TestNothingIsWrittenAfterTheLeaseHasEnded(t *testing.T) {
	s := newStage(t)
	s.users(3, object{"trial": true})
	s.before = func(r request) {
		if r.route == search {
			s.clock.set(48 * time.Hour) // the environment was frozen for two days
		}
	}
	for _, format := range []string{`{"id":"%s","customData":{"a":1}}`, `{"id":"%s","remove":["trial"]}`} {
		s.clock.set(0)
		report, err := s.invoke(t.Context(), rows(each(3, format)...))
		if !errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("outcome %s, error %v", report.Outcome, err)
		}
	}
	if n := s.tenant.Requests(merge) + s.tenant.Requests(replace); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestParamsSayWhatIsAccepted(t *testing.T) {
	s := newStage(t)
	event := func(source, detailType, detail string) string {
		return fmt.Sprintf(`{"version":"0","id":"e1","detail-type":"%s","source":"%s","account":"1","time":"2026-11-24T03:00:00Z","region":"eu-north-1","resources":[],"detail":%s}`,
			detailType, source, detail)
	}
	for payload, want := range map[string]string{
		`{}`:                                    `neither "rows" nor "source": give {"rows": [...]} or {"source": "path or s3://bucket/key"}`,
		`{"rows":null}`:                         `neither "rows" nor "source"`,
		`{"rows":[],"source":"a"}`:              `both "rows" and "source"`,
		`{"row":[]}`:                            `unknown field "row"`,
		`{"rows":[],"newer":"a."}`:              `"a." is not a path`,
		`{"source":"rows.json"}`:                "no such file",
		`{"source":"s3://b/a.csv"}`:             "locations in S3 can't be used here",
		event("aws.s3", "Object Deleted", `{}`): `S3 event "Object Deleted" names no rows`,
		event("aws.s3", "Object Created", `{"bucket":{"name":"b"}}`):        "lacks bucket.name or object.key",
		event("shop", "customers changed", `{"rows":[],"bucket":"b"}`):      `unknown field "bucket"`,
		event("shop", "Object Created", `{"bucket":{"name":"b"},"x":1}`):    `unknown field "bucket"`,
		fmt.Sprintf(`{"source":%q}`, s.file("rows.json", "[]")):             "name it .ndjson",
		fmt.Sprintf(`{"source":%q}`, s.file("rows.txt", "")):                "must end in .ndjson, .jsonl or .csv",
		fmt.Sprintf(`{"source":%q}`, s.file("rows.csv", "email,plan\n")):    `rows.csv: the CSV header in line 1: the first column is none of the keys`,
		fmt.Sprintf(`{"source":%q}`, s.file("more.csv", "id,plan,plan\nx")): `column 3 has the name of an earlier one`,
	} {
		report, err := s.invoke(t.Context(), payload)
		if err == nil || !strings.Contains(err.Error(), want) || report.Outcome != jobs.OutcomeFailed {
			t.Errorf("%s: outcome %s, error %v, want %q", payload, report.Outcome, err, want)
		}
	}
	if n := s.tenant.Requests(""); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestParamsOfEveryKindOfTrigger(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	row := `{"rows":[{"id":"u000","customData":{"n":%d}}]}`
	quoted := strings.ReplaceAll(fmt.Sprintf(row, 4), `"`, `\"`)
	for i, payload := range []string{
		fmt.Sprintf(row, 1),
		`{"id":"e1","detail-type":"customers changed","source":"shop","time":"2026-11-24T03:00:00Z","detail":` + fmt.Sprintf(row, 2) + `}`,
		`{"m2mjobs":{"schedule":"arn:aws:scheduler:eu-north-1:1:schedule/default/nightly","time":"2026-11-24T03:00:00Z","attempt":"1","params":` + fmt.Sprintf(row, 3) + `}}`,
		`{"Records":[{"messageId":"m1","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-north-1:1:rows","body":"` + quoted + `","attributes":{}}]}`,
	} {
		if answer, err := s.handler.Invoke(t.Context(), []byte(payload)); err != nil {
			t.Errorf("%s: %s, %v", payload, answer, err)
		}
		checkData(t, s, "u000", object{"n": number(i + 1)})
	}
}

func TestAPanicBeforeASingleBatchIsHandedOnFailsTheRunAtOnce(t *testing.T) {
	s := newStage(t, func(s *stage) {
		s.config.Client = func(context.Context) (*logto.Client, error) { panic("no client") }
	})
	s.users(3, nil)
	report, err := s.invoke(t.Context(), rows(each(3, `{"id":"%s","customData":{"a":1}}`)...))
	if err == nil || !strings.Contains(report.Error, "no client") {
		t.Errorf("error %v, report %+v", err, report)
	}
}
