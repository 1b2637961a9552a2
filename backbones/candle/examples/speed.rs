#![allow(missing_docs, clippy::unwrap_used)]
use mobillm_bundle::*;
use mobillm_core::backbone::*;
use std::time::Instant;
fn status(key: &str) -> usize {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find(|l| l.starts_with(key))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let engine = a[1].as_str();
    let path = std::path::PathBuf::from(&a[2]);
    let (batch, tokens, threads, reps): (usize, usize, usize, usize) = (
        a[3].parse().unwrap(),
        a[4].parse().unwrap(),
        a[5].parse().unwrap(),
        a[6].parse().unwrap(),
    );
    if !path.exists() {
        let f: Option<WeightFormat> = a.get(7).map(|f| f.parse().unwrap());
        import(
            std::path::Path::new(&a[8]),
            &path,
            &ImportOptions { weights: f, ..Default::default() },
        )
        .unwrap();
        println!("imported");
        return;
    }
    let bundle = Bundle::open(&path).unwrap();
    let layers = bundle.info().layers;
    let mut ctx = BackboneContext {
        bundle: path.clone(),
        taps: (0..=layers).collect(),
        label_tokens: vec![2430, 4219],
        libraries: NativeLibraries::default(),
    };
    let t = Instant::now();
    let mut b: Box<dyn Backbone> = match engine {
        "candle" => mobillm_backbone_candle::CandleBackboneConfig { threads: Some(threads) }
            .build(&ctx)
            .unwrap(),
        _ => {
            let l = mobillm_pull::pull(
                &mobillm_pull::Cache::user().unwrap(),
                "onnxruntime",
                &mut |_| {},
            )
            .unwrap();
            ctx.libraries = NativeLibraries([("onnxruntime".to_owned(), l)].into());
            serde_json::from_value::<Box<dyn BackboneConfig>>(
                serde_json::json!({"type":"onnxruntime","threads":threads}),
            )
            .unwrap()
            .build(&ctx)
            .unwrap()
        }
    };
    let load = t.elapsed();
    let samples: Vec<Tokens> = (0..batch)
        .map(|s| Tokens {
            ids: (0..tokens).map(|t| ((t * 7919 + s * 104729 + 13) % 40000) as u32).collect(),
            segments: vec![0; tokens],
        })
        .collect();
    let batch_ = TokenBatch::new(&samples, 0);
    let mut times = vec![];
    let mut sums = vec![0f64; layers + 1];
    let mut own = None;
    for _ in 0..reps {
        let t = Instant::now();
        let mut sink = |tap: Tap<'_>| {
            sums[tap.layer] = tap.hidden.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            Ok(())
        };
        own = b.forward(&batch_, &ForwardContext::default(), &mut sink).unwrap();
        times.push(t.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{engine} {} {batch}x{tokens} t{threads}: best {:.3}s median {:.3}s = {:.0} tok/s; load {:.2}s; peak {} MB (anon {} MB file {} MB) norms {:.4} {:.4} own {:?}",
        path.file_name().unwrap().to_string_lossy(),
        times[0],
        times[times.len() / 2],
        (batch * tokens) as f64 / times[0],
        load.as_secs_f64(),
        status("VmHWM") / 1024,
        status("RssAnon") / 1024,
        status("RssFile") / 1024,
        sums[layers / 2],
        sums[layers - 1],
        own.map(|o| o.row(0).to_vec())
    );
}
