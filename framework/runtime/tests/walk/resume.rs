//! An interrupted run ends as an undisturbed one, bit for bit, wherever it was interrupted.

use mobillm::{RunError, pipeline};

use crate::setup::{Notes, Setup, free_address, lines};

#[test]
fn an_interrupted_run_ends_bit_equal_to_an_undisturbed_one() {
    let setup = Setup::new();
    let undisturbed = setup.run(&[], "whole").unwrap();
    for stop_after in [1, 7, 12, 13, 30] {
        let out = format!("cut-{stop_after}");
        let notes = Notes { stop_after: Some(stop_after), ..Notes::default() };
        let stopped = setup.run_watched(&[], &out, &notes);
        assert!(matches!(stopped, Err(RunError::Stopped)), "{stopped:?}");
        let summary = setup.run(&[], &out).unwrap();
        assert_eq!(setup.adapter(&out), setup.adapter("whole"), "stopped after {stop_after}");
        let evals = |summary: &mobillm::run::summary::Summary| -> Vec<_> {
            summary.epochs.iter().map(|epoch| (epoch.eval.clone(), epoch.train_loss)).collect()
        };
        assert_eq!(evals(&summary), evals(&undisturbed));
        let steps: Vec<u64> = lines(&setup.path(&out).join("metrics.jsonl"))
            .iter()
            .map(|line| line["step"].as_u64().unwrap())
            .collect();
        assert_eq!(steps, (0..48).collect::<Vec<_>>());
    }
}

#[test]
fn a_device_comes_back_to_a_server_that_waited() {
    let setup = Setup::new();
    setup.run(&[], "whole").unwrap();
    let address = free_address();
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let loaded = setup.load(&[&transport]);
            pipeline::server(&loaded, &setup.path("server"), &Notes::default().watch())
        });
        let (loaded, options) = (setup.load(&[&transport]), setup.options("device"));
        let device =
            |notes: &Notes| pipeline::device(&loaded, &setup.environment, &options, &notes.watch());
        let stopped = device(&Notes { stop_after: Some(9), ..Notes::default() });
        assert!(matches!(stopped, Err(RunError::Stopped)), "{stopped:?}");
        device(&Notes::default()).unwrap();
        server.join().unwrap().unwrap();
    });
    assert_eq!(setup.adapter("device"), setup.adapter("whole"));
}

#[test]
fn a_server_that_was_stopped_goes_on_from_its_checkpoint() {
    let setup = Setup::new();
    setup.run(&[], "whole").unwrap();
    let address = free_address();
    let transport = format!("link.transport={{type=\"tcp\", address=\"{address}\"}}");
    let loaded = setup.load(&[&transport]);
    let options = setup.options("device");
    let stop_server = Notes::default();
    std::thread::scope(|scope| {
        let server =
            scope.spawn(|| pipeline::server(&loaded, &setup.path("server"), &stop_server.watch()));
        // The device's own observer stops the server, not the device.
        let notes =
            Notes { stop_after: Some(14), stop: stop_server.stop.clone(), ..Notes::default() };
        let watch = mobillm::progress::Watch { observer: &notes, stop: mobillm::Stop::default() };
        let error = pipeline::device(&loaded, &setup.environment, &options, &watch).unwrap_err();
        assert!(error.to_string().contains("the server was stopped; start it again"), "{error}");
        assert!(matches!(server.join().unwrap(), Err(RunError::Stopped)));
    });
    std::thread::scope(|scope| {
        let server = scope
            .spawn(|| pipeline::server(&loaded, &setup.path("server"), &Notes::default().watch()));
        let watch = Notes::default();
        pipeline::device(&loaded, &setup.environment, &options, &watch.watch()).unwrap();
        server.join().unwrap().unwrap();
    });
    assert_eq!(setup.adapter("device"), setup.adapter("whole"));
}
