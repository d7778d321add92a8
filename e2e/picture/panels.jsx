// Draws the dashboard from its JSON and from what Prometheus answered, with the
// components that Grafana itself draws with.

import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, FieldConfigOptionsRegistry, FieldType,
  getDisplayValueAlignmentFactors, getFieldDisplayValues, standardTransformers, standardTransformersRegistry,
  ThemeContext, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, Icon, PanelChrome, preparePlotFrame, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import dashboard from '../../dashboards/chatwize.json';
import answers from 'answers';

const parameters = new URLSearchParams(window.location.search);
const theme = createTheme({ colors: { mode: parameters.get('theme') ?? 'dark' } });
const timeZone = 'utc';
// Chromium's window has a least width.
const pageWidth = Number(parameters.get('width'));
// The rows are collapsed, or all there is.
const rows = dashboard.panels.filter((p) => p.type === 'row');
const shown = parameters.has('rows') ? rows.flatMap((row) => row.panels) : dashboard.panels.filter((p) => p.type !== 'row');

// What may be set for a field, by a panel or by an override. In Grafana each kind of
// panel registers its own; here it is whatever the dashboard sets.
const settings = new Set(shown.flatMap(({ fieldConfig: { defaults, overrides } }) => [
  ...Object.keys(defaults).filter((key) => key !== 'custom'),
  ...Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`),
  ...overrides.flatMap((o) => o.properties.map((p) => p.id)),
]));
const fieldConfigRegistry = new FieldConfigOptionsRegistry(() => [...settings].map((id) => ({
  id, name: id, path: id.replace(/^custom\./, ''), isCustom: id.startsWith('custom.'),
  // As Grafana does for displayName, which may name labels.
  process: (value, { field }) => (id === 'displayName'
    ? value?.replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label) => field.labels?.[label] ?? '') : value),
  shouldApply: () => true,
})));

standardTransformersRegistry.setInit(() => [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer]
  .map((transformer) => ({ id: transformer.id, name: transformer.name, transformation: async () => transformer })));

// What is no number is drawn as nothing.
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);

// The frames of a panel, as Grafana's Prometheus data source makes them.
function frames(panel) {
  const { results, steps } = answers[panel.id];
  return panel.targets.flatMap((target) => {
    const { refId } = target;
    const series = results[refId] ?? [];
    if (target.format === 'table') {
      const labels = [...new Set(series.flatMap((s) => Object.keys(s.metric)))].sort();
      return toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: series.map((s) => s.values[0][0] * 1000) },
          ...labels.map((label) => ({ name: label, type: FieldType.string, values: series.map((s) => s.metric[label] ?? '') })),
          { name: panel.targets.length > 1 ? `Value #${refId}` : 'Value', type: FieldType.number, values: series.map((s) => Number(s.values[0][1])) },
        ],
      });
    }
    return series.map((s) => toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: steps[refId] }, values: s.values.map(([at]) => at * 1000) },
        {
          name: 'Value', type: FieldType.number, labels: s.metric, values: s.values.map(([, value]) => number(value)),
          config: { displayNameFromDS: target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => s.metric[label] ?? '') },
        },
      ],
    }));
  });
}

async function prepare(panel) {
  const transformed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], frames(panel)));
  const fieldConfig = structuredClone(panel.fieldConfig);
  const set = fieldConfig.overrides.flatMap((o) => o.properties).filter((p) => p.id === 'thresholds').map((p) => p.value);
  for (const { steps } of [fieldConfig.defaults.thresholds, ...set].filter(Boolean)) {
    steps[0].value = -Infinity; // JSON has null for it
  }
  const replaceVariables = (text) => text;
  const data = applyFieldOverrides({ data: transformed, fieldConfig, fieldConfigRegistry, replaceVariables, theme, timeZone });
  // Grafana's panels do this too: colours by name and columns of tables go by it.
  cacheFieldDisplayNames(data);
  return { panel, fieldConfig, replaceVariables, data };
}

function Stat({ panel, data, fieldConfig, replaceVariables, width, height }) {
  const { options } = panel;
  return (
    <VizRepeater
      getValues={() => getFieldDisplayValues({ data, fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme, timeZone })}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, alignmentFactors, count, ...size }) => (
        <BigValue
          {...size} theme={theme} value={value.display} alignmentFactors={alignmentFactors} count={count}
          colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode}
          textMode={options.textMode} text={options.text} disableWideLayout={!options.wideLayout}
        />
      )}
      source={data} renderCounter={0} orientation={options.orientation} itemSpacing={3} width={width} height={height}
    />
  );
}

function Graph({ panel, data, width, height }) {
  const { from, to } = answers[panel.id];
  const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
  const align = (...all) => {
    const aligned = preparePlotFrame(...all);
    cacheFieldDisplayNames(data); // aligning has thrown them away
    return aligned;
  };
  return (
    <TimeSeries
      frames={data} preparePlotFrame={align} timeRange={timeRange} timeZone={timeZone}
      legend={panel.options.legend} width={width} height={height}
    />
  );
}

function Table({ panel, data, fieldConfig, width, height }) {
  const { sortBy, cellHeight } = panel.options;
  return (
    <TableNG
      data={data[0]} fieldConfig={fieldConfig} sortBy={sortBy} cellHeight={cellHeight}
      noValue={fieldConfig.defaults.noValue} width={width} height={height}
    />
  );
}

const kinds = { stat: Stat, timeseries: Graph, table: Table };

// Grafana's grid: 24 columns; the cells are 30 pixels high and 8 apart. On a phone, panels are below each other.
const gap = 8;
const columnWidth = (pageWidth - 2 * gap - 23 * gap) / 24;
const rowHeight = 30;
const phone = pageWidth < 769;
const top = Math.min(...shown.map((p) => p.gridPos.y));

function Placed({ panel, children }) {
  const { x, y, w, h } = panel.gridPos;
  const width = phone ? pageWidth - 2 * gap : w * columnWidth + (w - 1) * gap;
  const height = h * rowHeight + (h - 1) * gap;
  const style = phone
    ? { margin: gap, width, height }
    : { position: 'absolute', left: gap + x * (columnWidth + gap), top: gap + (y - top) * (rowHeight + gap), width, height };
  return <div style={style}>{children(width, height)}</div>;
}

function Panel(prepared) {
  const { panel } = prepared;
  const Kind = kinds[panel.type];
  return (
    <Placed panel={panel}>
      {(width, height) => (
        <PanelChrome
          title={panel.title} description={panel.description} width={width} height={height}
          padding={panel.type === 'table' ? 'none' : 'md'}
        >
          {(innerWidth, innerHeight) => <Kind {...prepared} width={innerWidth} height={innerHeight} />}
        </PanelChrome>
      )}
    </Placed>
  );
}

const panels = await Promise.all(shown.map(prepare));

function Dashboard() {
  // Graphs are drawn only once, so not before their font is there.
  const [ready, setReady] = useState(false);
  useEffect(() => {
    Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 12px Inter`))).then(() => setReady(true));
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {ready && panels.map((prepared) => <Panel key={prepared.panel.id} {...prepared} />)}
      {ready && !parameters.has('rows') && rows.map((row) => (
        <Placed key={row.id} panel={row}>
          {() => <h6><Icon name="angle-right" /> {row.title} <small>({row.panels.length} panels)</small></h6>}
        </Placed>
      ))}
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('dashboard')).render(<Dashboard />);
