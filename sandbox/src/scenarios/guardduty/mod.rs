pub(super) mod turn_on_detector;
