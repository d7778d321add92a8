package setting

import (
	"regexp"
	"strings"
)

var (
	yamlLine  = regexp.MustCompile(`(?:^yaml: |\n  )line ([0-9]+): (.*)`)
	yamlField = regexp.MustCompile(`^field (.*) not found in type `)
	yamlTwice = regexp.MustCompile(`^(?:field (.*) already set in type |key "(.*)" already set in map$)`)
)

// YAMLProblem returns what the text of a YAML error says: lines, and fields without values.
func YAMLProblem(text string) string {
	var problems []string
	for _, match := range yamlLine.FindAllStringSubmatch(text, -1) {
		problem := "cannot be understood (check the indentation of this line and those around it; YAML has no tabs)"
		if field := yamlField.FindStringSubmatch(match[2]); field != nil {
			problem = withField("has an unknown field", field[1])
		} else if field := yamlTwice.FindStringSubmatch(match[2]); field != nil {
			problem = withField("has a field that was given before:", field[1]+field[2])
		} else if strings.HasPrefix(match[2], "cannot unmarshal ") {
			problem = "has a value of the wrong type (check the indentation, and the space after the colon)"
		}
		problems = append(problems, "line "+match[1]+" "+problem)
	}
	if problems == nil {
		return "is not YAML"
	}
	return strings.Join(problems, ", ")
}

func withField(problem, field string) string {
	if Quotable(field) {
		return problem + " " + field
	}
	return strings.TrimSuffix(problem, ":")
}
