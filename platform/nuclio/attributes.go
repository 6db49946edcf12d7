package nuclio

import (
	"fmt"
	"strconv"
	"strings"
)

// Attributes are settings whose names depend on a kind, in any case.
type Attributes map[string]any

// value returns an attribute, nil if it is not there.
func (a Attributes) value(name string) any {
	if v, ok := a[name]; ok {
		return v
	}
	for key, v := range a {
		if strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}

// Text returns an attribute as text; numbers are written out.
func (a Attributes) Text(name string) (string, error) {
	switch v := a.value(name).(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int, bool, float64:
		return fmt.Sprint(v), nil
	default:
		return "", fmt.Errorf("attribute %s: is no text", name)
	}
}

// number returns an attribute as a whole number; without it that is other.
func (a Attributes) number(name string, other int) (int, error) {
	switch v := a.value(name).(type) {
	case nil:
		return other, nil
	case int:
		return v, nil
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("attribute %s: is no whole number", name)
}

// flag returns an attribute that is true or false; false without it.
func (a Attributes) flag(name string) (bool, error) {
	switch v := a.value(name).(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b, nil
		}
	}
	return false, fmt.Errorf("attribute %s: is neither true nor false", name)
}

// List returns an attribute that is a list of texts; other without it.
func (a Attributes) List(name string, other ...string) ([]string, error) {
	switch v := a.value(name).(type) {
	case nil:
		return other, nil
	case string:
		return strings.Split(v, ","), nil
	case []any:
		var all []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("attribute %s: %v is no text", name, item)
			}
			all = append(all, text)
		}
		return all, nil
	default:
		return nil, fmt.Errorf("attribute %s: is no list", name)
	}
}

// part returns an attribute that has attributes of its own.
func (a Attributes) part(name string) (Attributes, error) {
	switch v := a.value(name).(type) {
	case nil:
		return nil, nil
	case Attributes:
		return v, nil
	case map[string]any:
		return v, nil
	default:
		return nil, fmt.Errorf("attribute %s: has no parts", name)
	}
}
