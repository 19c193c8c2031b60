// Command manifests prints, as one JSON List, what virt-operator would install for virt-api, virt-controller and
// virt-handler: CRDs, webhook configurations, APIServices, RBAC and the priority class. No file of KubeVirt's is copied:
// everything comes from the packages of the module this binary was built from.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"kubevirt.io/kubevirt/pkg/virt-operator/resource/generate/components"
	"kubevirt.io/kubevirt/pkg/virt-operator/resource/generate/rbac"
)

const namespace = "kubevirt"

func crds() ([]any, error) {
	var out []any
	for _, make := range []func() (*extv1.CustomResourceDefinition, error){
		components.NewVirtualMachineInstanceCrd, components.NewVirtualMachineCrd, components.NewPresetCrd,
		components.NewReplicaSetCrd, components.NewVirtualMachineInstanceMigrationCrd, components.NewKubeVirtCrd,
		components.NewVirtualMachinePoolCrd, components.NewVirtualMachineSnapshotCrd,
		components.NewVirtualMachineSnapshotContentCrd, components.NewVirtualMachineRestoreCrd,
		components.NewVirtualMachineExportCrd, components.NewVirtualMachineBackupCrd,
		components.NewVirtualMachineBackupTrackerCrd, components.NewVirtualMachineInstancetypeCrd,
		components.NewVirtualMachineClusterInstancetypeCrd, components.NewVirtualMachinePreferenceCrd,
		components.NewVirtualMachineClusterPreferenceCrd, components.NewMigrationPolicyCrd,
		components.NewVirtualMachineCloneCrd, components.NewPluginCrd,
	} {
		crd, err := make()
		if err != nil {
			return nil, err
		}
		out = append(out, crd)
	}
	return out, nil
}

func main() {
	items, err := crds()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	items = append(items, components.NewKubeVirtPriorityClassCR())
	for _, list := range [][]any{
		objects(rbac.GetAllCluster()), objects(rbac.GetAllApiServer(namespace)),
		objects(rbac.GetAllController(namespace, false)), objects(rbac.GetAllHandler(namespace)),
		objects(components.NewVirtAPIAPIServices(namespace)),
	} {
		items = append(items, list...)
	}
	items = append(items,
		components.NewVirtAPIMutatingWebhookConfiguration(namespace),
		components.NewVirtAPIValidatingWebhookConfiguration(namespace),
		components.NewVirtLauncherPodMutatingWebhookConfiguration(namespace))
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func objects[T any](list []T) []any {
	out := make([]any, 0, len(list))
	for _, item := range list {
		out = append(out, item)
	}
	return out
}
