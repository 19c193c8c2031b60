// Command manifests prints, as one JSON List, what cdi-operator would install for cdi-apiserver and cdi-controller:
// CRDs, RBAC, the Service of the API server, its APIService and webhook configurations. No file of CDI's is copied:
// everything comes from the packages of the module this binary was built from.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"kubevirt.io/containerized-data-importer/pkg/operator/resources"
	"kubevirt.io/containerized-data-importer/pkg/operator/resources/cluster"
	"kubevirt.io/containerized-data-importer/pkg/operator/resources/namespaced"
)

const namespace = "cdi"

// printed are the kinds that are of use without Deployments.
var printed = map[string]bool{
	"CustomResourceDefinition": true, "ServiceAccount": true, "Role": true, "RoleBinding": true, "ClusterRole": true,
	"ClusterRoleBinding": true, "APIService": true, "MutatingWebhookConfiguration": true,
	"ValidatingWebhookConfiguration": true,
}

func main() {
	items, err := items()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func items() ([]client.Object, error) {
	cdi := &extv1.CustomResourceDefinition{}
	if err := k8syaml.NewYAMLToJSONDecoder(strings.NewReader(resources.CDICRDs["cdi"])).Decode(cdi); err != nil {
		return nil, err
	}
	// The client is only asked for certificates, which do not exist yet: the cluster fills in its own.
	args := &cluster.FactoryArgs{Namespace: namespace, Client: fake.NewClientBuilder().Build(), Logger: logr.Discard()}
	found := []client.Object{cdi}
	for _, create := range []func() ([]client.Object, error){
		func() ([]client.Object, error) { return cluster.CreateAllStaticResources(args) },
		func() ([]client.Object, error) { return cluster.CreateAllDynamicResources(args) },
		func() ([]client.Object, error) {
			return namespaced.CreateAllResources(&namespaced.FactoryArgs{Namespace: namespace})
		},
	} {
		created, err := create()
		if err != nil {
			return nil, err
		}
		for _, object := range created {
			if printed[object.GetObjectKind().GroupVersionKind().Kind] {
				found = append(found, object)
			}
		}
	}
	return found, nil
}
