// Package virttemplate stands in for a module that the public Go proxy does not serve (see ../../../README.md).
package virttemplate

import (
	"errors"

	"k8s.io/client-go/rest"
)

type Interface interface {
	TemplateV1beta1() TemplateV1beta1Interface
}

type TemplateV1beta1Interface interface {
	RESTClient() rest.Interface
}

func NewForConfig(*rest.Config) (Interface, error) {
	return nil, errors.New("VirtualMachineTemplates are not part of the development cluster")
}
