package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// namespace of the metrics, as of those of package jobs.
const namespace = "m2mjobs"

// metric is a definition of CloudWatch's embedded metric format; the value stands beside it, under its name.
type metric struct{ Name, Unit string }

// directive is the member _aws of that format's specification.
type directive struct {
	Timestamp         int64
	CloudWatchMetrics []metricSet
}

type metricSet struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []metric
}

// report writes a delivery's line, which is its metrics, too. What a request without a right signature says of itself is
// not in it.
func (r *Receiver) report(ctx context.Context, v verdict, took time.Duration) {
	attributes := []slog.Attr{
		slog.String("stack", r.stack), slog.String("job", Name), slog.String("outcome", string(v.outcome)), slog.Int("status", v.status), slog.Int("bytes", v.bytes),
	}
	if l, ok := lambdacontext.FromContext(ctx); ok {
		attributes = append(attributes, slog.String("requestId", l.AwsRequestID))
	}
	if d := v.delivery; d != nil {
		attributes = append(attributes, slog.String("event", d.event), slog.String("hookId", d.hookID),
			slog.String("userId", d.userID), slog.String("delivery", d.digest))
	}
	if v.reason != "" {
		attributes = append(attributes, slog.String("reason", v.reason))
	}
	set := metricSet{Namespace: namespace, Dimensions: [][]string{{"stack", "job"}}}
	for _, o := range []outcome{accepted, echo, refused, failed} {
		count := 0
		if o == v.outcome {
			count = 1
		}
		name := "deliveries_" + string(o)
		set.Metrics = append(set.Metrics, metric{name, "Count"})
		attributes = append(attributes, slog.Int(name, count))
	}
	set.Metrics = append(set.Metrics, metric{"deliveries_duration", "Milliseconds"})
	attributes = append(attributes, slog.Float64("deliveries_duration", float64(took.Microseconds())/1000),
		slog.Any("_aws", directive{r.now().UnixMilli(), []metricSet{set}}))
	level := slog.LevelInfo
	switch {
	case v.outcome == failed:
		level = slog.LevelError
	case v.status != http.StatusOK:
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "delivery", attributes...)
}
