package schedule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/cronexpr"
)

// What the fields' values are called.
var (
	fieldNames = []string{"minutes", "hours", "day-of-month", "month", "day-of-week", "year"}
	monthNames = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// What one of the comma-separated parts of a field may be.
const (
	rangePattern = `^([0-9A-Z]+)-([0-9A-Z]+)(/.+)?$`
	dayPattern   = `^([1-7]|[A-Z]{3})(-([1-7]|[A-Z]{3}))?(/([1-7]))?$`
	lastPattern  = `^([1-7]|[A-Z]{3})L$`
	nthPattern   = `^([1-7]|[A-Z]{3})#([1-5])$`
)

// submatch compiles a pattern when it is needed: kept in a variable, every start of a function would pay for it.
func submatch(pattern, s string) []string { return regexp.MustCompile(pattern).FindStringSubmatch(s) }

// parseCron reads the six fields as AWS writes them. The library's differ: its days of the week begin with 0, it takes
// ? for *, and both day fields together as "either".
func parseCron(inside string) (*cronexpr.Expression, error) {
	fields := strings.Fields(strings.ToUpper(inside))
	if len(fields) != len(fieldNames) {
		return nil, fmt.Errorf("%d fields, want 6: %s", len(fields), strings.Join(fieldNames, ", "))
	}
	for i, name := range fieldNames {
		if err := checkField(name, fields[i]); err != nil {
			return nil, err
		}
	}
	days, weekdays := &fields[2], &fields[4]
	if (*days == "?") == (*weekdays == "?") {
		return nil, errors.New("one of day-of-month and day-of-week must be ?, and the other not")
	}
	if *days == "?" {
		*days = "*"
	}
	weekday, err := libraryDays(*weekdays)
	if err != nil {
		return nil, err
	}
	*weekdays = weekday
	cron, err := cronexpr.Parse("0 " + strings.Join(fields, " "))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return cron, nil
}

// checkField refuses what the library would take in another sense, or come to grief with.
func checkField(name, field string) error {
	if strings.Contains(field, "?") && (field != "?" || name != "day-of-month" && name != "day-of-week") {
		return fmt.Errorf("%s %q: ? stands alone, and only for day-of-month or day-of-week", name, field)
	}
	if name == "day-of-month" && strings.Contains(field, "L-") {
		return fmt.Errorf("%s %q: days before the last are not supported here; write the days", name, field)
	}
	for part := range strings.SplitSeq(field, ",") {
		if part == "" {
			return fmt.Errorf("%s %q: a comma with nothing beside it", name, field)
		}
		m := submatch(rangePattern, part)
		if m == nil || name == "day-of-week" {
			continue
		}
		from, to := number(m[1]), number(m[2])
		if from < 0 || to < 0 || from > to {
			return fmt.Errorf("%s %q: %s is not a range from a lower to a higher value", name, field, part)
		}
	}
	return nil
}

// number is the value of a number or a month; -1 if it is neither.
func number(s string) int {
	if i := slices.Index(monthNames, s); i >= 0 {
		return i + 1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// libraryDays writes the day-of-week field with names, which mean the same to AWS and to the library.
func libraryDays(field string) (string, error) {
	if field == "*" || field == "?" {
		return "*", nil
	}
	var days []string
	for part := range strings.SplitSeq(field, ",") {
		named, err := libraryDay(part)
		if err != nil {
			return "", fmt.Errorf("day-of-week %q: %w", field, err)
		}
		days = append(days, named...)
	}
	return strings.Join(days, ","), nil
}

func libraryDay(part string) ([]string, error) {
	if part == "L" {
		return []string{"SAT"}, nil // the last of the week
	}
	if m := submatch(lastPattern, part); m != nil {
		day, err := weekday(m[1])
		return []string{dayNames[day] + "L"}, err
	}
	if m := submatch(nthPattern, part); m != nil {
		day, err := weekday(m[1])
		return []string{dayNames[day] + "#" + m[2]}, err
	}
	if rest, ok := strings.CutPrefix(part, "*/"); ok {
		part = "SUN-SAT/" + rest
	}
	m := submatch(dayPattern, part)
	if m == nil {
		return nil, fmt.Errorf("%q: want 1-7 or SUN-SAT, ranges of them, L or #", part)
	}
	from, err := weekday(m[1])
	if err != nil {
		return nil, err
	}
	to, step := from, 1
	if m[3] != "" {
		if to, err = weekday(m[3]); err != nil {
			return nil, err
		}
	} else if m[5] != "" {
		to = len(dayNames) - 1
	}
	if m[5] != "" {
		step = number(m[5])
	}
	if from > to {
		return nil, fmt.Errorf("%q is not a range from a lower to a higher day, of which SUN is the first", part)
	}
	var days []string
	for day := from; day <= to; day += step {
		days = append(days, dayNames[day])
	}
	return days, nil
}

// weekday reads 1-7 or SUN-SAT as 0-6.
func weekday(s string) (int, error) {
	if i := slices.Index(dayNames, s); i >= 0 {
		return i, nil
	}
	if len(s) == 1 && s[0] >= '1' && s[0] <= '7' {
		return int(s[0] - '1'), nil
	}
	return 0, fmt.Errorf("%q: want 1-7 or SUN-SAT", s)
}
