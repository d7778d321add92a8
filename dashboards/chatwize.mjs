// Writes chatwize.json: node dashboards/chatwize.mjs (or make dashboard).
// Panels of a kind are alike but for a metric's name, so they are made by one function.

import { writeFileSync } from 'node:fs';

const datasource = { type: 'prometheus', uid: '${datasource}' };

// Which series: those of an exporter, of an account, of a chatbot.
const ofJob = 'job=~"$job", instance=~"$instance"';
const ofAccount = `${ofJob}, account=~"$account"`;
const ofChatbot = `${ofAccount}, chatbot=~"$chatbot"`;

// Two replicas export the same chatbots: max takes one number of each.
const max = (metric) => `max by (chatbot) (chatwize_${metric}{${ofChatbot}})`;
const within = (metric, window) => `max by (chatbot) (chatwize_${metric}{${ofChatbot}, window="${window}"})`;
// Failed fetches and restarts leave gaps, which these bridge.
const lastOf = (metric, range) => `max by (chatbot) (last_over_time(chatwize_${metric}{${ofChatbot}}[${range}]))`;
const lastWithin = (metric, window, range) =>
  `max by (chatbot) (last_over_time(chatwize_${metric}{${ofChatbot}, window="${window}"}[${range}]))`;
// Of missing sessions, the replica that knows more has the lower number. Of the three kinds, the greatest counts.
const missing = `max by (chatbot) (min by (__name__, chatbot) ({__name__=~"chatwize_missing_.+", ${ofChatbot}}))`;

// twinned adds a part of the UUID for chatbots whose name another has too.
const twinned = (query) => `label_replace(${query}, "twin", " $1", "chatbot", "($twins).*")`;
// named adds the name that a chatbot has at the end of the range. The last step may be a day before that end, so names are
// looked for from an hour before it until a day after it. Before the first scrape, there are none: the UUID is the name.
// It also adds which of all chatbots it is: the variable slots is (UUID)|(UUID)|…, so that as many commas come before the
// UUID in the label slot as other chatbots. Colours go by that: those of Grafana's palettes go by position, and are alike.
const colors = ['#5794F2', '#FF9830', '#4FA24A', '#E02F44', '#B877D9', '#E0B400', '#2FB8C4', '#FF85C0', '#9C6B4A', '#9FA7B3', '#A8D95F', '#147D78'];
const names = `last_over_time(chatwize_chatbot_info{${ofJob}}[25h] @ end() offset -1d)`;
const slots = colors.map((_, i) => `$${i + 1}`).join();
const named = (query) => `label_replace(${twinned(`(topk by (chatbot) (1, max by (chatbot, name) (${names}))`
  + ` or on (chatbot) label_replace(group by (chatbot) (chatwize_sessions{${ofJob}}), "name", "$1", "chatbot", "(.+)"))`)},`
  + ` "slot", "${slots}", "chatbot", "\${slots:pipe}") * on (chatbot) group_left () (${query})`;

const kinds = [
  { metric: 'sessions', title: 'Sessions', color: 'blue', check: 'See whether the widget is on the site, and whether a chatbot fails.' },
  { metric: 'sessions_with_lead', title: 'Leads', color: 'purple', check: 'If sessions come, try the lead form on the site.' },
  { metric: 'sessions_with_verified_identity', title: 'Verified identities', color: 'orange', check: 'If sessions come, log in on the site and look at its identity endpoint.' },
];

// Queries: now has one value, over has one for each point in time. What takes a rate needs some scrapes in its window,
// whatever interval the data source is set to.
const target = (expr, more) => ({ datasource, editorMode: 'code', expr, ...more });
const now = (expr, legendFormat) => target(expr, { legendFormat, instant: true });
const column = (expr) => target(expr, { format: 'table', instant: true });
const over = (expr, legendFormat) => target(expr, {
  legendFormat, range: true, ...(expr.includes('$__rate_interval') && { interval: '1m' }),
});

const steps = (base, ...rest) => ({
  mode: 'absolute',
  steps: [{ color: base, value: null }, ...rest.map(([value, color]) => ({ color, value }))],
});
const fixed = (fixedColor) => ({ mode: 'fixed', fixedColor });
const override = (id, options, properties) => ({
  matcher: { id, options }, properties: Object.entries(properties).map(([key, value]) => ({ id: key, value })),
});
const byName = (name, properties) => override('byName', name, properties);
const texts = (options) => ({
  type: 'value', options: Object.fromEntries(Object.entries(options).map(([value, [text, color]]) => [value, { text, ...(color && { color }) }])),
});

// perChatbot is a query of a series for each chatbot, and what gives each its name and colour.
const perChatbot = (query) => over(named(query), '{{slot}}/{{name}}');
const chatbotOverrides = [
  ...colors.map((color, i) => override('byRegexp', `/^,{${i}}[^,/]/`, { color: fixed(color) })),
  override('byType', 'number', { displayName: '${__field.labels.name}${__field.labels.twin}' }),
];

let id = 0;
const panel = (type, [w, h], title, description, targets, { defaults = {}, overrides = [], options, ...more }) => ({
  id: ++id, type, title, description, pluginVersion: '13.2.3', datasource, gridPos: { x: 0, y: 0, w, h },
  targets: targets.map((t, i) => ({ refId: String.fromCharCode(65 + i), ...t })),
  fieldConfig: { defaults, overrides }, options, ...more,
});

const stat = (size, title, description, targets, { defaults, overrides }) => panel('stat', size, title, description, targets, {
  defaults: { unit: 'locale', decimals: 0, noValue: '–', ...defaults },
  overrides,
  options: {
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    orientation: 'horizontal', textMode: 'value_and_name', colorMode: 'value', graphMode: 'none', justifyMode: 'auto', wideLayout: true,
    showPercentChange: false, percentChangeColorMode: 'standard', text: { titleSize: 14, valueSize: 22 },
  },
});

const series = (size, title, description, targets, { unit = 'locale', decimals, noValue, custom, defaults, overrides, calcs = [], legend, ...more }) =>
  panel('timeseries', size, title, description, targets, {
    defaults: {
      unit, min: 0, ...(decimals !== undefined && { decimals }), noValue, color: { mode: 'palette-classic' }, ...defaults,
      custom: { drawStyle: 'line', lineWidth: 2, fillOpacity: 0, showPoints: 'auto', spanNulls: 3600000, ...custom },
    },
    overrides,
    options: {
      legend: { showLegend: true, displayMode: calcs.length > 0 ? 'table' : 'list', placement: 'bottom', calcs, ...legend },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
    ...more,
  });

const noNumbers = 'No numbers in this time range. Before the first scrape, only a backfill has some';

// A bar ends at the time it belongs to. More points than any range has: the step stays an hour or a day.
const bars = (size, kind, window, noun, description, legend) => series(
  size, `${kind.title} per ${noun}`, description,
  [perChatbot(lastWithin(`recent_${kind.metric}`, window, '10m'))],
  {
    overrides: chatbotOverrides,
    decimals: 0, noValue: noNumbers, interval: window, maxDataPoints: 10000, ...legend,
    custom: {
      drawStyle: 'bars', barAlignment: -1, barWidthFactor: 0.9, lineWidth: 0, fillOpacity: 100, spanNulls: false,
      stacking: { mode: 'normal', group: 'A' },
    },
  },
);

const recent = (kind) => lastWithin(`recent_${kind.metric}`, '1d', '10m');
const usual = (kind) => lastWithin(`usual_${kind.metric}`, '1d', '10m');
const hidden = { 'custom.showPoints': 'never', 'custom.hideFrom': { legend: true, tooltip: true, viz: false }, 'custom.lineWidth': 0 };
const againstUsual = (kind) => series(
  [8, 8], `${kind.title} in 24 hours, and the usual`,
  'Those of the 24 hours before each moment, of chatbots with a usual number. Usual is the median of the four weeks before. '
  + `Chance alone rarely leaves the band: usual plus and minus three times its square root. ${kind.check}`,
  [
    over(`sum(${recent(kind)} and on (chatbot) ${usual(kind)})`, 'last 24 hours'),
    over(`sum(${usual(kind)})`, 'usual'),
    over(`sum(${usual(kind)}) + 3 * sqrt(sum(${usual(kind)}))`, 'high'),
    over(`clamp_min(sum(${usual(kind)}) - 3 * sqrt(sum(${usual(kind)})), 0)`, 'low'),
  ],
  {
    decimals: 0, noValue: 'No chatbot has a usual number yet: that takes two weeks and a day of sessions',
    defaults: { color: fixed(kind.color) },
    overrides: [
      byName('usual', { color: fixed('text'), 'custom.lineWidth': 1, 'custom.lineStyle': { fill: 'dash', dash: [6, 6] } }),
      byName('high', { color: fixed('text'), 'custom.fillBelowTo': 'low', 'custom.fillOpacity': 15, ...hidden }),
      byName('low', { color: fixed('text'), ...hidden }),
    ],
  },
);

const rate = (kind, title, description) => series(
  [12, 8], title, description,
  [perChatbot(`${within(`recent_${kind.metric}`, '7d')} / on (chatbot) ${within('recent_sessions', '7d')}`)],
  { overrides: chatbotOverrides, unit: 'percentunit', decimals: 1, noValue: noNumbers },
);

const total = (kind) => stat(
  [4, 4], kind.title,
  `All there are, those of the last 7 days, and how these compare with the usual week. ${kind.check} `
  + 'A chatbot that fails counts with its last number, for an hour. The usual week is the median of the four before.',
  [
    now(`sum(${lastOf(kind.metric, '1h')})`, 'in all'),
    now(`sum(${lastWithin(`recent_${kind.metric}`, '7d', '1h')})`, 'last 7 days'),
    now(`sum(${within(`recent_${kind.metric}`, '7d')} - on (chatbot) ${within(`usual_${kind.metric}`, '7d')})`
      + ` / sum(${within(`usual_${kind.metric}`, '7d')})`, 'week on week'),
  ],
  {
    defaults: { color: fixed(kind.color) },
    overrides: [byName('week on week', {
      unit: 'percentunit', color: { mode: 'thresholds' },
      thresholds: steps('red', [-0.5, 'orange'], [-0.25, 'text']),
    })],
  },
);

// An alert may be about a job, or an exporter, or a chatbot.
const alerts = 'alertname=~"Chatwize.+", alertstate="firing", job=~"$job|", account=~"$account|", chatbot=~"$chatbot|"';

const top = [
  stat(
    [5, 4], 'Chatbots',
    'The table below says which. Failing: no replica can fetch the sessions. Not scraped: seen within a day, but not now. '
    + 'Missing: 15 sessions or leads or verified identities fewer than usual, from which the alerts fire.',
    [
      now(`count(${max('up')}) or vector(0)`, 'in all'),
      now(`count(${max('up')} == 0) or vector(0)`, 'failing'),
      now(`count(${lastOf('up', '1d')} unless on (chatbot) ${max('up')}) or vector(0)`, 'not scraped'),
      now(`count(${missing} >= 15) or vector(0)`, 'missing 15 or more'),
    ],
    {
      defaults: { color: { mode: 'thresholds' }, thresholds: steps('green', [1, 'red']) },
      overrides: [byName('in all', { thresholds: steps('red', [1, 'text']) })],
    },
  ),
  stat(
    [4, 4], 'Exporter',
    'If no exporter is scraped, see the targets of Prometheus. If discovery fails, see the log of the exporter. '
    + 'Discovery is off if the chatbots are configured.',
    [
      now(`count(chatwize_exporter_build_info{${ofJob}}) or vector(0)`, 'exporters'),
      now(`max(chatwize_discovery_up{${ofAccount}}) or max(chatwize_exporter_build_info{${ofJob}}) - 2`, 'discovery'),
      now(`count(ALERTS{${alerts}}) or vector(0)`, 'alerts firing'),
    ],
    {
      defaults: { color: { mode: 'thresholds' }, thresholds: steps('red', [1, 'green']) },
      overrides: [
        byName('exporters', { mappings: [texts({ 0: ['none scraped'] })] }),
        byName('discovery', { mappings: [texts({ '-1': ['off', 'text'], 0: ['fails', 'red'], 1: ['works', 'green'] })] }),
        byName('alerts firing', { thresholds: steps('green', [1, 'red']) }),
      ],
    },
  ),
  ...kinds.map(total),
  stat(
    [3, 4], 'Rates, 28 days',
    'The share of the sessions of the last 28 days with a lead, and with a verified identity. '
    + 'If one falls, see which chatbot it is in the graphs of rates.',
    [['lead', 'lead'], ['verified_identity', 'verified']].map(([kind, name]) => now(
      `sum(${lastWithin(`recent_sessions_with_${kind}`, '28d', '1h')}) / sum(${lastWithin('recent_sessions', '28d', '1h')})`, name)),
    { defaults: { unit: 'percentunit', decimals: 1, color: fixed('text') } },
  ),
];

const table = (size, title, description, targets, { columns, hide = [], sortBy, noValue, rename, overrides }) => panel(
  'table', size, title, description, targets, {
    transformations: [
      ...(targets.length > 1 ? [{ id: 'merge', options: {} }] : []),
      {
        id: 'organize',
        options: {
          excludeByName: Object.fromEntries(['Time', ...hide].map((name) => [name, true])),
          indexByName: Object.fromEntries(columns.map((name, i) => [name, i])),
          renameByName: rename,
        },
      },
    ],
    // The text is for an empty table, not for an empty cell.
    defaults: { unit: 'locale', decimals: 0, noValue, custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, minWidth: 80 } },
    overrides: [override('byRegexp', '/.*/', { noValue: '–' }), ...overrides],
    options: { frameIndex: 0, showHeader: true, cellHeight: 'sm', sortBy, frozenColumns: { left: 1 } },
  },
);

const colored = { type: 'color-background', mode: 'basic' };
// Links keep all that is chosen, but for the chatbot. They work whatever uid and path the dashboard has.
const only = [{
  title: 'Only this chatbot',
  url: '${__url.path}?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${account:queryparam}'
    + '&var-chatbot=${__data.fields.chatbot}&${__url_time_range}',
}];
const kindTexts = texts({ sessions: ['sessions'], sessions_with_lead: ['leads'], sessions_with_verified_identity: ['verified'] });

const attention = table(
  [24, 8], 'What needs attention first',
  'Failing chatbots come first, then those that miss most. Missing: how many of the kind in "of" would usually have come since the newest. '
  + '5 are worth a look, from 15 on the alerts fire. Usual: the median of the four weeks before, once there are two. '
  + 'Click a name to see only that chatbot.',
  [
    column(`label_join(${twinned(`topk by (chatbot) (1, max by (chatbot, name, account) (chatwize_chatbot_info{${ofChatbot}})`
      + ` or on (chatbot) max by (chatbot, name, account) (last_over_time(chatwize_chatbot_info{${ofChatbot}}[1d])))`)}, "name", "", "name", "twin")`),
    column(`${max('up')} or on (chatbot) ${lastOf('up', '1d')} * 0 - 1`),
    column(`topk by (chatbot) (1, max by (chatbot, reason) (chatwize_fetch_failure_info{${ofChatbot}})) unless on (chatbot) ${max('up')} == 1`),
    column(`topk by (chatbot) (1, min by (chatbot, kind) (label_replace({__name__=~"chatwize_missing_.+", ${ofChatbot}},`
      + ' "kind", "$1", "__name__", "chatwize_missing_(.+)")))'),
    column(`${max('last_session_created_timestamp_seconds')} * 1000`),
    column(within('recent_sessions', '1d')),
    column(within('usual_sessions', '1d')),
    column(within('recent_sessions', '7d')),
    column(within('usual_sessions', '7d')),
    column(`${within('recent_sessions_with_lead', '28d')} / on (chatbot) ${within('recent_sessions', '28d')}`),
    column(`${lastOf('last_fetch_timestamp_seconds', '1d')} * 1000`),
  ],
  {
    noValue: 'No chatbots. Either Prometheus scrapes no exporter: see its targets. Or the exporter has discovered none: see its log',
    columns: ['name', 'account', 'Value #B', 'reason', 'Value #D', 'kind', 'Value #E', 'Value #F', 'Value #G', 'Value #H', 'Value #I',
      'Value #J', 'Value #K', 'chatbot'],
    hide: ['twin', 'Value #A', 'Value #C'],
    rename: {
      name: 'Chatbot', account: 'Account', 'Value #B': 'Fetch', reason: 'Reason', 'Value #D': 'Missing', kind: 'of', 'Value #E': 'Newest session',
      'Value #F': 'Last day', 'Value #G': 'Usual day', 'Value #H': 'Last week', 'Value #I': 'Usual week',
      'Value #J': 'Lead rate, 28 d', 'Value #K': 'Fetched', chatbot: 'UUID',
    },
    sortBy: [{ displayName: 'Fetch', desc: false }, { displayName: 'Missing', desc: true }],
    overrides: [
      byName('Chatbot', { 'custom.minWidth': 130, links: only }),
      byName('Fetch', {
        'custom.cellOptions': colored, 'custom.align': 'center', 'custom.width': 100,
        mappings: [texts({ '-1': ['Not scraped', 'purple'], 0: ['Failing', 'red'], 1: ['OK', 'green'] })],
      }),
      byName('Reason', { 'custom.minWidth': 110 }),
      byName('Missing', { 'custom.width': 85, 'custom.cellOptions': colored, thresholds: steps('transparent', [5, 'orange'], [15, 'red']), color: { mode: 'thresholds' } }),
      byName('of', { 'custom.width': 85, mappings: [kindTexts] }),
      byName('Newest session', { unit: 'dateTimeFromNow', 'custom.width': 145 }),
      ...['Last day', 'Usual day', 'Last week', 'Usual week'].map((name) => byName(name, { 'custom.width': 100 })),
      byName('Lead rate, 28 d', { unit: 'percentunit', decimals: 1, 'custom.width': 125 }),
      byName('Fetched', { unit: 'dateTimeFromNow', 'custom.width': 145 }),
      byName('UUID', { 'custom.minWidth': 110 }),
    ],
  },
);

const missingOverTime = series(
  [14, 8], 'Missing',
  'How many sessions, or leads or verified identities, would usually have come since the newest. Where a line leaves zero, it began. '
  + 'The dashed lines are 5 and 15. A chatbot has no number without two weeks of sessions, nor after 28 days of silence.',
  [perChatbot(missing)],
  {
    overrides: chatbotOverrides,
    decimals: 0, noValue: noNumbers,
    defaults: { thresholds: steps('transparent', [5, 'orange'], [15, 'red']) },
    custom: { thresholdsStyle: { mode: 'dashed' }, scaleDistribution: { type: 'symlog', log: 10, linearThreshold: 1 } },
  },
);

const firingAlerts = table(
  [10, 8], 'Firing alerts',
  'What to do is in the link "What the alerts mean", at the top. Since: when the condition was first met.',
  [column('max by (alertname, severity, account, instance, chatbot)'
    + ` (ALERTS_FOR_STATE{alertname=~"Chatwize.+"} * 1000 and ignoring (alertstate) ALERTS{${alerts}})`
    + ` * on (chatbot) group_left (name) (topk by (chatbot) (1, max by (chatbot, name) (last_over_time(chatwize_chatbot_info{${ofJob}}[1d]))) or vector(1))`)],
  {
    noValue: 'No alert fires. Or Prometheus has not loaded the rules: see its page of rules',
    columns: ['alertname', 'name', 'account', 'Value', 'severity', 'instance', 'chatbot'],
    rename: { alertname: 'Alert', name: 'Chatbot', account: 'Account', Value: 'Since', severity: 'Severity', instance: 'Instance', chatbot: 'UUID' },
    sortBy: [{ displayName: 'Since', desc: true }],
    overrides: [
      byName('Alert', { 'custom.minWidth': 190 }),
      byName('Severity', { 'custom.cellOptions': colored, 'custom.align': 'center', mappings: [texts({ critical: ['critical', 'red'], warning: ['warning', 'orange'] })] }),
      byName('Chatbot', { 'custom.minWidth': 130 }),
      byName('Since', { unit: 'dateTimeFromNow', 'custom.width': 145 }),
      byName('UUID', { 'custom.minWidth': 110 }),
    ],
  },
);

const hour = 'A bar is the hour before its end, in whole hours; the hour under way is not shown.';
const day = 'A bar is a whole day; which time zone it is of is in dashboards/README.md. The day under way is not shown.';
const [sessions, leads, verified] = kinds;

const graphs = [
  bars([24, 9], sessions, '1h', 'hour', `${hour} ${sessions.check}`, { calcs: ['sum'], legend: { placement: 'right' } }),
  bars([12, 8], leads, '1h', 'hour', `${hour} ${leads.check}`),
  bars([12, 8], verified, '1h', 'hour', `${hour} ${verified.check}`),
  ...kinds.map((kind) => bars([8, 8], kind, '1d', 'day', `${day} ${kind.check}`)),
  ...kinds.map(againstUsual),
  rate(leads, 'Lead rate of 7 days', 'The share of the sessions of the 7 days before each moment that have a lead. If it falls, try the lead form on the site.'),
  rate(verified, 'Verification rate of 7 days',
    'The share of the sessions of the 7 days before each moment with a verified identity. If it falls, log in on the site.'),
];

const perMinute = (metric) => `rate(chatwize_api_${metric}{${ofAccount}}[$__rate_interval])`;
const noRequests = 'No exporter was scraped twice within the window';
const noExporter = 'No exporter was scraped in this time range';

const health = [
  series([8, 8], 'Failing chatbots by reason',
    'Chatbots that no replica can fetch. unauthorized: renew the API key. not_found: correct the UUID. '
    + 'rate_limited: scrape less often or set --chatwize.cache-ttl. timeout: raise the scrape timeout. Others: see the log.',
    [over(`count by (reason) (topk by (chatbot) (1, max by (chatbot, reason) (chatwize_fetch_failure_info{${ofChatbot}})) unless on (chatbot) ${max('up')} == 1)`, '{{reason}}')],
    { decimals: 0, noValue: 'No chatbot failed, or no exporter was scraped', custom: { axisSoftMax: 5, lineInterpolation: 'stepAfter', fillOpacity: 30, spanNulls: false, stacking: { mode: 'normal', group: 'A' } } }),
  series([8, 8], 'Fetch duration', 'How long fetches take. If it comes near the scrape timeout, raise that, or set --chatwize.window.',
    [over(`max(${max('fetch_duration_seconds')})`, 'slowest'), over(`quantile(0.5, ${max('fetch_duration_seconds')})`, 'median')],
    { unit: 's', noValue: noExporter }),
  table([8, 8], 'Fetches, slowest first',
    'Malformed sessions break the documented shape. They are counted all the same. If they become more, look for a newer exporter.',
    [
      column(`label_join(${twinned(`topk by (chatbot) (1, max by (chatbot, name) (chatwize_chatbot_info{${ofChatbot}}))`)}, "name", "", "name", "twin")`),
      column(max('fetch_duration_seconds')),
      column(max('malformed_sessions')),
    ],
    {
      noValue: 'No chatbots: no exporter is scraped, or it has discovered none',
      columns: ['name', 'Value #B', 'Value #C', 'chatbot'],
      hide: ['twin', 'Value #A'],
      rename: { name: 'Chatbot', 'Value #B': 'Fetch time', 'Value #C': 'Malformed', chatbot: 'UUID' },
      sortBy: [{ displayName: 'Fetch time', desc: true }],
      overrides: [
        byName('Chatbot', { 'custom.minWidth': 130, links: only }),
        byName('Fetch time', { unit: 's', decimals: 2, 'custom.minWidth': 100 }),
        byName('Malformed', { 'custom.width': 100 }),
        byName('UUID', { 'custom.minWidth': 110 }),
      ],
    }),
  series([8, 8], 'Age of the numbers',
    'How long ago the oldest numbers were fetched. It stays below --chatwize.cache-ttl plus a scrape interval. If not, see the log.',
    [over(`max(time() - ${max('last_fetch_timestamp_seconds')})`, 'oldest')],
    { unit: 's', noValue: noExporter }),
  series([8, 8], 'API response time',
    'Of 100 requests, 95 or 50 had response headers within this time. If it grows, the API is slow.',
    [95, 50].map((percent) => over(
      `histogram_quantile(0.${percent}, sum by (le) (rate(chatwize_api_request_duration_seconds_bucket{${ofAccount}}[$__rate_interval])))`,
      `${percent} of 100`)),
    { unit: 's', noValue: noRequests }),
  series([8, 8], 'Errors by reason', 'Failed fetches a minute. What to do is in "Failing chatbots by reason".',
    [over(`sum by (reason) (${perMinute('errors_total')}) * 60`, '{{reason}}')], { unit: 'cpm', noValue: noRequests, custom: { axisSoftMax: 1 } }),
  series([8, 8], 'Requests by code',
    'Requests to the API a minute. 200 and 304 are successes. For more than expected, count the replicas and their scrapes.',
    [over(`sum by (endpoint, code) (${perMinute('requests_total')}) * 60`, '{{endpoint}} {{code}}')], { unit: 'opm', noValue: noRequests }),
  series([8, 8], 'Bytes read',
    'Response bodies, of all replicas. To read less, scrape less often, or set --chatwize.cache-ttl or --chatwize.window.',
    [over(`sum by (endpoint) (${perMinute('response_bytes_total')})`, '{{endpoint}}')], { unit: 'Bps', noValue: noRequests }),
  series([8, 8], 'Memory', 'Resident memory of each exporter. It is flat, however many sessions there are. If it grows for days, report it.',
    [over(`process_resident_memory_bytes{${ofJob}} and on (job, instance) chatwize_exporter_build_info{${ofJob}}`, '{{instance}}')],
    { unit: 'bytes', noValue: noExporter }),
];

// place puts panels side by side, and in rows of 24 columns.
function place(panels, y) {
  let [x, height] = [0, 0];
  for (const { gridPos } of panels) {
    if (x + gridPos.w > 24) [x, y, height] = [0, y + height, 0];
    Object.assign(gridPos, { x, y });
    x += gridPos.w;
    height = Math.max(height, gridPos.h);
  }
  return y + height;
}

const open = [...top, attention, missingOverTime, firingAlerts, ...graphs];
const row = { id: 100, type: 'row', title: 'Exporter health', collapsed: true, gridPos: { x: 0, y: place(open, 0), w: 24, h: 1 }, panels: health };
place(health, row.gridPos.y + 1);

const all = { text: ['All'], value: ['$__all'] };
const variable = (name, label, query, more) => ({
  name, label, type: 'query', datasource, query: { query, refId: 'PrometheusVariableQueryEditor-VariableQuery', qryType: more?.regex ? 3 : 1 },
  refresh: 2, sort: 1, multi: true, includeAll: true, allValue: '.+', current: all, ...more,
});
const inJob = (labels) => `label_values(chatwize_up{${labels}}`;
const info = `max by (chatbot, name) (last_over_time(chatwize_chatbot_info{${ofAccount}}[1h]))`;

const dashboard = {
  uid: 'chatwize',
  title: 'Chatwize',
  description: 'Which Chatwize chatbots need attention, their sessions, leads and verified identities, and the health of the exporter.',
  tags: ['chatwize', 'prometheus'],
  schemaVersion: 42,
  editable: false,
  graphTooltip: 1,
  refresh: '1m',
  time: { from: 'now-7d', to: 'now' },
  timezone: 'browser',
  links: [
    ['What the alerts mean', 'The runbook: what each alert means, how to check it, what to do',
      'https://github.com/chatwize-exporter/chatwize_exporter/blob/main/alerts/README.md', 'doc', true],
    ['Alerts', 'Which of the alerts fire now', '/alerting/list?search=Chatwize', 'bolt', false],
  ].map(([title, tooltip, url, icon, targetBlank]) => ({
    type: 'link', title, tooltip, url, icon, targetBlank, asDropdown: false, includeVars: false, keepTime: false, tags: [],
  })),
  templating: {
    list: [
      { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
      variable('job', 'Job', 'label_values(chatwize_up, job)'),
      variable('instance', 'Instance', `${inJob('job=~"$job"')}, instance)`),
      // Only with --config.file is there a label account: .* matches its absence, and the menu keeps it out of the way.
      variable('account', 'Account', `${inJob(ofJob)}, account)`, { allValue: '.*', hide: 3 }),
      // The first digits of the UUIDs of chatbots with equal names; where there are none, what matches no UUID.
      variable('twins', 'Equal names',
        `query_result(${info} and on (name) count by (name) (${info}) > 1 or on () label_replace(vector(1), "chatbot", "none", "", ""))`,
        { regex: '/chatbot="([^"]{1,8})/', allValue: undefined, hide: 2, skipUrlSync: true }),
      // All chatbots, whichever are chosen, so that each keeps its colour.
      variable('slots', 'Colours',
        `query_result(label_replace(group by (chatbot) (last_over_time({__name__=~"chatwize_(chatbot_info|sessions)", ${ofAccount}}[1d])),`
        + ' "slot", "($1)", "chatbot", "(.+)"))',
        { regex: '/slot="([^"]+)"/', allValue: undefined, hide: 2, skipUrlSync: true }),
      variable('chatbot', 'Chatbot',
        `query_result(label_join(${twinned(info)}, "unique", "", "name", "twin")`
        + ` or on (chatbot) label_replace(group by (chatbot) (last_over_time(chatwize_sessions{${ofAccount}}[1h])), "unique", "$1", "chatbot", "(.+)"))`,
        // The label after all others: names may have quotes and braces.
        { regex: '/chatbot="(?<value>[^"]+)".*,unique="(?<text>.+)"\\} \\S+ \\S+$/' }),
    ],
  },
  panels: [...open, row],
};

// write is JSON.stringify, but with what fits into a line in one.
function write(value, indent = '') {
  const line = JSON.stringify(value, null, 1).replace(/\n\s*/g, ' ');
  if (typeof value !== 'object' || indent.length + line.length < 120) return line;
  const deeper = `${indent}  `;
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const lines = Array.isArray(value)
    ? value.map((item) => write(item, deeper))
    : Object.entries(value).filter(([, item]) => item !== undefined).map(([key, item]) => `${JSON.stringify(key)}: ${write(item, deeper)}`);
  return `${open}\n${deeper}${lines.join(`,\n${deeper}`)}\n${indent}${close}`;
}

export const json = `${write(dashboard)}\n`;
if (process.argv[1] === import.meta.filename) writeFileSync(new URL('chatwize.json', import.meta.url), json);
