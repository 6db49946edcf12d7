package nuclio

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reference is how the place of a value begins that the controller keeps in a secret.
const reference = "$ref:"

// Where the pod has the secret, unless a variable says otherwise, and the variables about it.
const (
	SecretFolder         = "/etc/nuclio/secrets"
	SecretFolderVariable = "NUCLIO_FUNCTION_SECRET_VOLUME_PATH"
	RestoreVariable      = "NUCLIO_RESTORE_FUNCTION_CONFIG_FROM_SECRET"
)

// ParseSecret reads the file content of the secret: the values that were taken out of processor.yaml, by their
// references. An empty file has none.
func ParseSecret(text []byte) (map[string]string, error) {
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("read the function's secret: %w", err)
	}
	values := map[string]string{}
	if len(decoded) == 0 {
		return values, nil
	}
	var encoded map[string]string
	if err := json.Unmarshal(decoded, &encoded); err != nil {
		return nil, fmt.Errorf("read the function's secret: %w", err)
	}
	for key, value := range encoded {
		name, ours := strings.CutPrefix(key, "NUCLIO_B64_")
		if !ours {
			continue
		}
		place, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(name, "_", "="))
		if err != nil {
			return nil, fmt.Errorf("read the function's secret: key %q: %w", key, err)
		}
		values[reference+strings.TrimPrefix(string(place), reference)] = value
	}
	return values, nil
}

// Restore puts the values of a secret where processor.yaml refers to them.
func Restore(text []byte, values map[string]string) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("read the function's configuration: %w", err)
	}
	if len(values) == 0 || root.Kind == 0 {
		return text, nil
	}
	restore(&root, values)
	return yaml.Marshal(&root)
}

func restore(n *yaml.Node, values map[string]string) {
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, reference) {
		if value, ok := values[n.Value]; ok {
			n.SetString(value)
		}
	}
	for _, child := range n.Content { // what an alias stands for is there once
		restore(child, values)
	}
}
