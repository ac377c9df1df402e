package shop

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ReadOrders reads orders from CSV with the columns order_id, customer_id, placed_on (YYYY-MM-DD), quantity and
// total_usd, in any order, named by the first line. An error names line and column. A customer's e-mail address is
// EmailOf its id.
func ReadOrders(r io.Reader) ([]Order, error) {
	buffered := bufio.NewReader(r)
	// Spreadsheets put a byte order mark first.
	if first, err := buffered.Peek(3); err == nil && string(first) == "\ufeff" {
		if _, err := buffered.Discard(3); err != nil {
			return nil, fmt.Errorf("reading orders: %w", err)
		}
	}
	rows := csv.NewReader(buffered)
	rows.ReuseRecord = true
	rows.FieldsPerRecord = -1 // counted here, to tell both numbers
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("reading orders: the file is empty; its first line names the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	columns, err := orderColumns(header)
	if err != nil {
		return nil, fmt.Errorf("reading orders: line 1: %w", err)
	}
	var orders []Order
	lines := make(map[string]int)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return orders, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading orders: %w", err) // encoding/csv names the line
		}
		if len(row) != len(columns) {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("reading orders: line %d: it has %d fields and the header has %d: quote fields that hold a comma",
				line, len(row), len(columns))
		}
		order, column, err := readOrder(row, columns)
		line, _ := rows.FieldPos(columns[column])
		if err != nil {
			return nil, fmt.Errorf("reading orders: line %d, column %s: %w", line, column, err)
		}
		if before, ok := lines[order.ID]; ok {
			return nil, fmt.Errorf("reading orders: line %d, column order_id: %s was on line %d already", line, order.ID, before)
		}
		lines[order.ID] = line
		orders = append(orders, order)
	}
}

// orderColumns finds the columns by their names.
func orderColumns(header []string) (map[string]int, error) {
	want := []string{"order_id", "customer_id", "placed_on", "quantity", "total_usd"}
	if len(header) == 1 && strings.ContainsAny(header[0], ";\t|") {
		return nil, fmt.Errorf("it is one column: separate columns by commas; the columns are %s", strings.Join(want, ", "))
	}
	columns := make(map[string]int)
	for i, name := range header {
		if !slices.Contains(want, name) {
			return nil, fmt.Errorf("there is no column %.40q; the columns are %s", name, strings.Join(want, ", "))
		}
		if _, ok := columns[name]; ok {
			return nil, fmt.Errorf("the column %s is there twice", name)
		}
		columns[name] = i
	}
	for _, name := range want {
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("the column %s is missing; the columns are %s", name, strings.Join(want, ", "))
		}
	}
	return columns, nil
}

// readOrder reads one row. With an error it tells which column is wrong.
func readOrder(row []string, columns map[string]int) (order Order, column string, err error) {
	order = Order{
		ID:         row[columns["order_id"]],
		CustomerID: row[columns["customer_id"]],
		PlacedOn:   row[columns["placed_on"]],
		Currency:   Currency,
	}
	if err := checkID(order.ID); err != nil {
		return order, "order_id", err
	}
	if err := checkID(order.CustomerID); err != nil {
		return order, "customer_id", err
	}
	order.CustomerEmail = EmailOf(order.CustomerID)
	if err := CheckDay(order.PlacedOn); err != nil {
		return order, "placed_on", err
	}
	quantity := row[columns["quantity"]]
	if order.Quantity, err = strconv.ParseInt(quantity, 10, 32); err != nil || order.Quantity < 1 {
		return order, "quantity", fmt.Errorf("%.40q is not a whole number from 1", quantity)
	}
	if order.TotalCents, err = ParseCents(row[columns["total_usd"]]); err != nil {
		return order, "total_usd", err
	}
	return order, "order_id", nil
}

// checkID refuses an id that can't stand in an address, a cursor or an e-mail address as it is.
func checkID(id string) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, odd) {
		return fmt.Errorf("%.40q is not an id: 1 to 64 letters, digits, hyphens and underscores", id)
	}
	return nil
}

// ParseCents reads an amount such as 29.33, 29.3 or 29 exactly. At most twelve digits may stand before the point.
func ParseCents(amount string) (int64, error) {
	whole, fraction, point := strings.Cut(amount, ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if whole == "" || len(whole) > 12 || !digits(whole) || !digits(fraction) || len(fraction) > 2 || point && fraction == "" {
		return 0, fmt.Errorf("%.40q is not an amount such as 29.33", amount)
	}
	for len(fraction) < 2 {
		fraction += "0"
	}
	cents, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not an amount such as 29.33", amount)
	}
	return cents, nil
}
