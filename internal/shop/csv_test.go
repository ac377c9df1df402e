package shop_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/shop"
)

const header = "order_id,customer_id,placed_on,quantity,total_usd\n"

func TestReadOrders(t *testing.T) {
	want := []shop.Order{order("o1", "c1", "1997-01-01", 2, 2933), order("o2", "c2", "1997-01-02", 1, 0)}
	for name, file := range map[string]string{
		"as it is":           header + "o1,c1,1997-01-01,2,29.33\no2,c2,1997-01-02,1,0.00\n",
		"without last break": header + "o1,c1,1997-01-01,2,29.33\no2,c2,1997-01-02,1,0",
		"from Windows":       "\ufeff" + strings.ReplaceAll(header+"o1,c1,1997-01-01,2,29.33\no2,c2,1997-01-02,1,0.0\n", "\n", "\r\n"),
		"in another order":   "total_usd,placed_on,quantity,customer_id,order_id\n29.33,1997-01-01,2,c1,o1\n0.00,1997-01-02,1,c2,o2\n",
	} {
		got, err := shop.ReadOrders(strings.NewReader(file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadOrdersNamesLineAndColumn(t *testing.T) {
	good := "o1,c1,1997-01-01,2,29.33\n"
	for file, want := range map[string]string{
		"": "the file is empty",
		"order_id,customer_id,placed_on,quantity\n":   "line 1: the column total_usd is missing",
		"id,customer_id,placed_on,quantity,total\n":   `line 1: there is no column "id"`,
		"order_id,order_id,customer_id\n":             "line 1: the column order_id is there twice",
		strings.ReplaceAll(header, ",", ";"):          "line 1: it is one column: separate columns by commas",
		header + good + "o2,c2,1997-01-02,1\n":        "line 3: it has 4 fields and the header has 5: quote fields that hold a comma",
		header + good + "o2;c2;1997-01-02;1;1.00\n":   "line 3: it has 1 fields and the header has 5",
		header + good + "o2,c2,02.01.1997,1,1.00\n":   `line 3, column placed_on: "02.01.1997" is not a date of the form YYYY-MM-DD`,
		header + good + "o2,c2,1997-01-02,0,1.00\n":   `line 3, column quantity: "0" is not a whole number from 1`,
		header + good + "o2,c2,1997-01-02,1.5,1.00\n": "line 3, column quantity",
		header + good + "o2,c2,1997-01-02,1,1.005\n":  `line 3, column total_usd: "1.005" is not an amount such as 29.33`,
		header + good + "o2,c2,1997-01-02,1,-1.00\n":  "line 3, column total_usd",
		header + good + "o2,c 2,1997-01-02,1,1.00\n":  `line 3, column customer_id: "c 2" is not an id`,
		header + good + ",c2,1997-01-02,1,1.00\n":     `line 3, column order_id: "" is not an id`,
		header + good + "\n" + good:                   "line 4, column order_id: o1 was on line 2 already",
		header + "\"o1\nc1":                           "line 2",
	} {
		_, err := shop.ReadOrders(strings.NewReader(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", file, err, want)
		}
	}
}

func TestParseCentsIsExact(t *testing.T) {
	for amount, want := range map[string]int64{
		"29.33": 2933, "29.3": 2930, "29": 2900, "0.00": 0, "0.01": 1, "007.10": 710, "999999999999.99": 99_999_999_999_999,
		"1.15": 115, "4.35": 435, // which a float makes 114.99999999999999 and 434.99999999999994
	} {
		if got, err := shop.ParseCents(amount); err != nil || got != want {
			t.Errorf("ParseCents(%q) = %d, %v, want %d", amount, got, err, want)
		}
	}
	for _, amount := range []string{"", ".", "1.", ".5", "-1", "+1", "1,000.00", "1.234", "1e3", "0x10", " 1", "NaN", "1000000000000", "١"} {
		if got, err := shop.ParseCents(amount); err == nil {
			t.Errorf("ParseCents(%q) = %d, want an error", amount, got)
		}
	}
}

func FuzzReadOrders(f *testing.F) {
	f.Add(header + "o1,c1,1997-01-01,2,29.33\n")
	f.Add("\ufeff" + header)
	f.Add("total_usd,placed_on,quantity,customer_id,order_id\n\"29.33\",1997-01-01,2,c1,o1\n")
	f.Fuzz(func(t *testing.T, file string) {
		orders, err := shop.ReadOrders(strings.NewReader(file))
		if err != nil {
			return
		}
		for _, o := range orders {
			if shop.CheckDay(o.PlacedOn) != nil || o.Quantity < 1 || o.TotalCents < 0 || o.ID == "" {
				t.Errorf("read %+v", o)
			}
		}
	})
}
