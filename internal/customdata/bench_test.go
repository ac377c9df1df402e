package customdata

import "testing"

// typical is a row as the daily statistics of an order system have it.
const typical = `{"primaryEmail":"user123@example.com","customData":{"orders":{"asOf":"1997-03-24","count":3,"spent":12345,"last":"1997-03-24"}}}`

func BenchmarkParseRow(b *testing.B) {
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseRow([]byte(typical)); err != nil {
			b.Fatal(err)
		}
	}
}
