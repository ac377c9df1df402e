package main

import (
	"fmt"
	"os"

	"github.com/joho/godotenv"
)

// loadVariables sets the variables in a file, but for those that are set already. No file: nothing.
func loadVariables(file string) error {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return usage(fmt.Errorf("variables: %w", err))
	}
	// The parser's own error shows the text from where it failed, which may be a key.
	variables, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		return usage(fmt.Errorf("variables: %s is not a file of lines NAME=value; a value with spaces goes in quotes", file))
	}
	for name, value := range variables {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return usage(fmt.Errorf("variables: %s: %q is no name for a variable", file, name))
		}
	}
	return nil
}
