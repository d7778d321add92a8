// The dashboard as @grafana/schema describes it, each panel with the options of its type.

import type * as dashboard from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Written is T as JSON has it: an enumeration is one of its values.
type Written<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Written<T[K]> } : T;

type Datasource = { type: 'prometheus'; uid: '${datasource}' };

// The package has no type for a query to Prometheus: this is all that the dashboard uses.
type Target = {
  refId: string;
  datasource: Datasource;
  editorMode: 'code';
  expr: string;
  legendFormat?: string;
  format?: 'table';
  interval?: string;
} & ({ instant: true } | { range: true });

type Field = Omit<Written<dashboard.FieldConfig>, 'custom'>;

// An override may set what the defaults can set.
type Property<Custom> =
  | { [K in keyof Field]-?: { id: K; value: NonNullable<Field[K]> } }[keyof Field]
  | { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: Custom[K] } }[keyof Custom & string];

type Panel<Type extends string, Options, Custom> =
  Omit<Written<dashboard.Panel>, 'type' | 'datasource' | 'targets' | 'options' | 'fieldConfig'> & {
    id: number;
    type: Type;
    title: string;
    description: string;
    datasource: Datasource;
    targets: Target[];
    options: Written<Options>;
    fieldConfig: {
      defaults: Field & { custom?: Written<Custom> };
      overrides: Array<{
        matcher: { id: 'byName' | 'byRegexp' | 'byType'; options: string };
        properties: Array<Property<Written<Custom>>>;
      }>;
    };
  };

type AnyPanel =
  | Panel<'stat', stat.Options, object>
  | Panel<'table', table.Options, table.FieldConfig>
  | Panel<'timeseries', timeSeries.Options, timeSeries.FieldConfig>;

type Row = Omit<Written<dashboard.RowPanel>, 'panels'> & { panels: AnyPanel[] };

export type Dashboard = Omit<Written<dashboard.Dashboard>, 'panels'> & { panels: Array<AnyPanel | Row> };
